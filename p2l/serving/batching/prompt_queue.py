"""What waits for a forward pass, and which of it goes together: the oldest, and what suits it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

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


T = TypeVar("T", bound=Encoded)


def by_wanted(items: Sequence[T]) -> tuple[list[T], list[T]]:
    """The items that somebody waits for, and the others; each is asked once, since clients leave at any moment."""
    wanted: list[T] = []
    left: list[T] = []
    for item in items:
        (wanted if item.wanted else left).append(item)
    return wanted, left


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


def first_that_fit(lengths: np.ndarray, token_budget: int) -> np.ndarray:
    """Where nothing is padded: the oldest of the waiting prompts, as many as the budget has room for, at least one."""
    return np.arange(max(1, int(np.searchsorted(np.cumsum(lengths), token_budget, side="right"))))


def looked_at(lengths: np.ndarray, token_budget: int) -> int:
    """How many of the waiting prompts, in the order of arrival, a batch is chosen from."""
    return int(np.searchsorted(np.cumsum(lengths), LOOK_AHEAD * token_budget)) + 1


class Work(NamedTuple):
    """What one lane does next; both lists are empty at the end.

    Attributes:
        batch: the prompts to rank.
        dropped: the prompts that nobody waits for any more.
        alone: no other lane runs beside this batch, so that it may use every core.
    """

    batch: list[Encoded]
    dropped: list[Encoded]
    alone: bool


@dataclass
class Waiting:
    """The encoded prompts that wait, handed out in batches to one or more lanes that run them.

    What waits is shared out among the lanes that are free. A prompt that comes when nothing waits and nothing runs goes
    alone, and the other lanes wait for its end; lane 0 runs all of those, since OpenMP keeps a team of threads for each
    thread that asks for one, and two teams on the same cores get in each other's way. Every batch that ``take`` gives
    out is to be followed by ``done``.

    Attributes:
        token_budget: most tokens of a batch, padding included.
        lanes: how many threads take.
        pads: whether the prompts of a batch are padded to the longest, so that like lengths should go together.
    """

    token_budget: int
    lanes: int = 1
    pads: bool = True
    _items: list[Encoded] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False
    _running: int = 0
    _alone: bool = False

    def add(self, items: Sequence[Encoded]) -> None:
        with self._changed:
            self._items.extend(items)
            self._changed.notify_all()

    def take(self, lane: int = 0) -> Work:
        """The next batch, and what was dropped; blocks while there is neither."""
        with self._changed:
            while self._alone or not (self._items or self._closed) or (lane and self._lone()):
                self._changed.wait()
            self._items, dropped = by_wanted(self._items)
            if not self._items:
                return Work([], dropped, False)
            # another lane gets here with a lone prompt where those beside it were dropped just now
            self._alone = self.lanes == 1 or (lane == 0 and self._lone())
            self._running += 1
            return Work(self._next_batch(), dropped, self._alone)

    def done(self) -> None:
        """A batch has been run."""
        with self._changed:
            self._running -= 1
            self._alone = False
            self._changed.notify_all()

    def close(self) -> None:
        """No more will come; ``take`` hands out what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _lone(self) -> bool:
        return len(self._items) == 1 and not self._running

    def _next_batch(self) -> list[Encoded]:
        lengths = np.array([len(item.ids) for item in self._items])
        free = self.lanes - self._running + 1
        budget = min(self.token_budget, -(-int(lengths.sum()) // free)) if free > 1 else self.token_budget
        chosen = set((choose_batch if self.pads else first_that_fit)(lengths, budget).tolist())
        batch = [item for i, item in enumerate(self._items) if i in chosen]
        self._items = [item for i, item in enumerate(self._items) if i not in chosen]
        return batch
