"""What waits for a forward pass, and which of it goes together: batches of like length that the oldest is part of."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

# What a forward pass costs whatever its size, in tokens: it reads every weight. Padding beyond it is dearer than
# another pass.
FIXED_COST_TOKENS = 128
# A batch is chosen among the oldest prompts that fill so many: enough for like lengths, and few late ones overtake.
LOOK_AHEAD = 4


@runtime_checkable
class Encoded(Protocol):
    """A prompt in waiting: its ids, and whether anybody still waits for the answer."""

    ids: np.ndarray

    @property
    def wanted(self) -> bool: ...


def choose_batch(lengths: np.ndarray, token_budget: int) -> np.ndarray:
    """Which of the waiting prompts to run now; ``lengths`` in the order of arrival, the result positions into it.

    The oldest prompt is always in it, so none waits for more batches than there were prompts before it. With it go
    prompts of like length: of all windows of the sorted lengths that hold it and whose padded size (count x longest)
    is within the budget, the one with most tokens for its cost, the padded size and FIXED_COST_TOKENS. Only the oldest
    prompts of LOOK_AHEAD budgets are looked at.
    """
    lengths = lengths[: looked_at(lengths, token_budget)]
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order].astype(np.int64)
    oldest = int(np.flatnonzero(order == 0)[0])
    starts, ends = np.arange(oldest + 1)[:, None], np.arange(oldest, len(ordered))[None, :]
    total = np.concatenate(([0], np.cumsum(ordered)))
    padded = ordered[ends] * (ends - starts + 1)
    worth = (total[ends + 1] - total[starts]) / (padded + FIXED_COST_TOKENS)
    worth[(padded > token_budget) & (ends > starts)] = -1.0
    first, last = np.unravel_index(int(np.argmax(worth)), worth.shape)
    return order[first : oldest + last + 1]


def looked_at(lengths: np.ndarray, token_budget: int) -> int:
    """How many of the waiting prompts, in the order of arrival, a batch is chosen from."""
    return int(np.searchsorted(np.cumsum(lengths), LOOK_AHEAD * token_budget)) + 1


@dataclass
class Waiting:
    """The encoded prompts that wait, handed out in batches; filled and emptied by different threads."""

    token_budget: int
    _items: list[Encoded] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def add(self, items: Sequence[Encoded]) -> None:
        with self._changed:
            self._items.extend(items)
            self._changed.notify()

    def take(self) -> tuple[list[Encoded], list[Encoded]]:
        """The next batch, and what was dropped because nobody waits for it; blocks while there is neither.

        Both empty: closed, and all that came was handed out.
        """
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            dropped = [item for item in self._items if not item.wanted]
            left = [item for item in self._items if item.wanted] if dropped else self._items
            batch: list[Encoded] = []
            if left:
                chosen = set(choose_batch(np.array([len(i.ids) for i in left]), self.token_budget).tolist())
                batch = [item for i, item in enumerate(left) if i in chosen]
                left = [item for i, item in enumerate(left) if i not in chosen]
            self._items = left
            return batch, dropped

    def close(self) -> None:
        """No more will come; ``take`` hands out what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
