"""Keep keys and values of the beginnings of prompts: the next turn of a conversation computes its new tokens only."""

import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from p2l.recent_values import RecentValues

# What the name of a block takes beside its tensor, estimated.
NAME_BYTES = 256

Blocks = Sequence[Float[Tensor, "layers 2 block groups width"]]


class PrefixCache:
    """The least recently used blocks of keys and values, in bounded memory; for one network and one thread or several.

    A block is named by a digest of all token ids from the start of the prompt to its end, as in vLLM's prefix caching:
    prompts share blocks exactly as far as their ids agree, and a prompt that was cut on the left finds none. Blocks are
    kept, not conversations: those that branch share what they have in common, and the last turns of a conversation are
    dropped before its first.

    A prompt is kept if its first block has come before: single prompts, which never come again, would only push the
    conversations out.

    Args:
        max_bytes: of the tensors and their names.
        report: called after each change with the number of blocks, of bytes, and of tokens that were just found.
        block_tokens: of a block. The end of a prompt that fills none is computed again; small blocks take more lookups.
    """

    def __init__(
        self,
        max_bytes: int,
        report: Callable[[int, int, int], None] = lambda blocks, size, found: None,
        block_tokens: int = 16,
    ) -> None:
        self._max_bytes, self._report, self.block_tokens = max_bytes, report, block_tokens
        self._blocks: RecentValues[Tensor | None] = RecentValues()  # None: a first block that came once
        self._count = 0
        self._lock = threading.Lock()

    def names(self, ids: Int[np.ndarray, " tokens"], start: int) -> list[bytes]:
        """Return the names of the full blocks of a prompt from position ``start`` on, without its last token."""
        names, name = [], _digest(ids[:start])
        for end in range(start + self.block_tokens, len(ids), self.block_tokens):
            name = _digest(ids[end - self.block_tokens : end], name)
            names.append(name)
        return names

    def count(self, names: Sequence[bytes]) -> int:
        """Return the number of leading blocks that are kept."""
        with self._lock:
            return self._leading(names)

    def find(self, names: Sequence[bytes]) -> tuple[list[Tensor], bool]:
        """Return the leading blocks that are kept, and whether the prompt's own blocks belong in the cache."""
        with self._lock:
            leading = [self._blocks.get(name) for name in names[: self._leading(names)]]
            is_known = bool(names) and names[0] in self._blocks
            if names and not is_known:
                self._insert(names[0], None)
            self._touch(names)
            self._shrink(found=self.block_tokens * len(leading))
            return [block for block in leading if block is not None], is_known

    def keep(self, names: Sequence[bytes], block: Callable[[int], Tensor]) -> None:
        """Keep the blocks of these names; ``block(i)`` returns a tensor of its own for the i-th."""
        with self._lock:
            missing = [i for i, name in enumerate(names) if self._blocks.get(name) is None]
        made = {names[i]: block(i) for i in missing}
        with self._lock:
            for name, tensor in made.items():
                self._insert(name, tensor)
            self._touch(names)
            self._shrink()

    def _leading(self, names: Sequence[bytes]) -> int:
        return next((i for i, name in enumerate(names) if self._blocks.get(name) is None), len(names))

    def _touch(self, names: Sequence[bytes]) -> None:
        """Make the blocks the newest, the first block last: a block is never dropped before those that follow it."""
        for name in reversed(names):
            if name in self._blocks:
                self._blocks.touch(name)

    def _shrink(self, found: int = 0) -> None:
        self._count -= sum(block is not None for block in self._blocks.shrink(self._max_bytes))
        self._report(self._count, self._blocks.num_bytes, found)

    def _insert(self, name: bytes, tensor: Tensor | None) -> None:
        before = self._blocks.put(name, tensor, NAME_BYTES + (0 if tensor is None else tensor.nbytes))
        self._count += (tensor is not None) - (before is not None)


def _digest(ids: Int[np.ndarray, " tokens"], before: bytes = b"") -> bytes:
    return blake2b(before + ids.astype(np.int32).tobytes(), digest_size=32).digest()
