"""Prompts of a large table in a memory-mapped file, which processes share; only their positions are in memory."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int64

Turns = tuple[str, ...]
_SCHEMA = pa.schema([("turns", pa.list_(pa.string()))])
_BATCH = 50_000  # prompts in a batch of the file
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class StoredPrompts(Sequence[Turns]):
    """Prompts (user turns) that are read from an Arrow file when they are asked for.

    Attributes:
        path: the file; its name is a digest of its content.
        rows: item i is row ``rows[i]`` of the file.
    """

    path: Path
    rows: Int64[np.ndarray, " prompts"]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Turns: ...
    @overload
    def __getitem__(self, index: slice) -> list[Turns]: ...
    def __getitem__(self, index: int | slice) -> Turns | list[Turns]:
        if isinstance(index, slice):
            return self._read(self.rows[index])
        return self._read(self.rows[[index]])[0]

    def __iter__(self) -> Iterator[Turns]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def select(self, index: Int64[np.ndarray, " some"]) -> "StoredPrompts":
        """Return the prompts at these positions."""
        return StoredPrompts(self.path, self.rows[index])

    @property
    def digest(self) -> str:
        """Name the content: equal prompts in the same order have the same digest."""
        return hashlib.sha256(self.path.stem.encode() + self.rows.tobytes()).hexdigest()[:32]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "rows": self.rows}  # without the mapped file

    @cached_property
    def _batches(self) -> list[pa.Array]:
        with pa.memory_map(str(self.path)) as file:
            return pa.ipc.open_file(file).read_all().column("turns").chunks

    def _read(self, rows: np.ndarray) -> list[Turns]:
        batch, within = np.divmod(rows, _BATCH)
        turns: list[Turns] = []
        cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1), len(rows)]
        for start, stop in pairwise(cuts):
            if start < stop:
                found = self._batches[batch[start]].take(pa.array(within[start:stop]))
                turns += map(tuple, found.to_pylist())
        return turns


class PromptWriter:
    """Write the prompts of a table to a file in ``folder``; close it with ``finish``, or with ``discard``.

    A prompt that comes again is written again, and found at the end by a digest of 128 bits.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
        self._folder, self._part = folder, folder / f".prompts-{secrets.token_hex(4)}"
        self._file = pa.OSFile(str(self._part), "wb")
        self._writer = pa.ipc.new_file(self._file, _SCHEMA)
        self._waiting: list[Turns] = []
        self._digests: list[np.ndarray] = []
        self.num_written = 0

    def add(self, prompts: Sequence[Turns]) -> None:
        """Add prompts; their positions are from ``num_written`` before."""
        digests = b"".join(map(_digest, prompts))
        self._digests.append(np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2))
        self._waiting += prompts
        self.num_written += len(prompts)
        while len(self._waiting) >= _BATCH:
            self._write(self._waiting[:_BATCH])
            del self._waiting[:_BATCH]

    def finish(self) -> tuple[StoredPrompts, Int64[np.ndarray, " written"]]:
        """Return the distinct prompts in order of appearance, and the position among them of each one written."""
        self._write(self._waiting)
        self._writer.close()
        self._file.close()
        digests = np.concatenate([*self._digests, np.zeros((0, 2), dtype=np.uint64)])
        path = self._folder / f"prompts-{hashlib.sha256(digests.tobytes()).hexdigest()[:32]}.arrow"
        os.replace(self._part, path)  # another process may have written the same
        index = pd.DataFrame(digests).groupby([0, 1], sort=False).ngroup().to_numpy(dtype=np.int64)
        _, first = np.unique(index, return_index=True)
        return StoredPrompts(path, first.astype(np.int64)), index

    def discard(self) -> None:
        """Remove what was written, unless it is finished."""
        self._part.unlink(missing_ok=True)

    def _write(self, prompts: list[Turns]) -> None:
        if prompts:
            self._writer.write(pa.record_batch([pa.array(prompts, _SCHEMA.field("turns").type)], schema=_SCHEMA))


def _digest(turns: Turns) -> bytes:
    text = "".join(f"{len(turn)}:{turn}" for turn in turns)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
