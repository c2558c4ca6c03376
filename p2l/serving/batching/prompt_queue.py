"""The queue of encoded prompts, and the choice of each batch: the oldest prompt and prompts of similar length."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

# The fixed cost of a forward pass in tokens: it reads every weight. If padding costs more, another pass is cheaper.
FIXED_COST_TOKENS = 128
# A batch is chosen among the oldest prompts that fill this many budgets: enough to find similar lengths.
LOOK_AHEAD = 4


@runtime_checkable
class Encoded(Protocol):
    """A prompt in the queue: its cost in tokens, and whether a request still waits for the result."""

    @property
    def tokens(self) -> int: ...

    @property
    def wanted(self) -> bool: ...


T = TypeVar("T", bound=Encoded)


def split_by_wanted(items: Sequence[T]) -> tuple[list[T], list[T]]:
    """Split items into wanted and abandoned ones; reads ``wanted`` once each, since clients leave at any moment."""
    wanted: list[T] = []
    left: list[T] = []
    for item in items:
        (wanted if item.wanted else left).append(item)
    return wanted, left


def choose_batch(lengths: np.ndarray, token_budget: int) -> np.ndarray:
    """Return the positions of the prompts to run now; ``lengths`` are in the order of arrival.

    The oldest prompt is always chosen, so no prompt waits for more batches than there were prompts before it. The rest
    are prompts of similar length. Among the windows of sorted lengths that hold the oldest prompt and whose padded size
    (count x longest) is within the budget, the best has the most tokens for its cost: padded size plus
    FIXED_COST_TOKENS. Only the oldest prompts that fill LOOK_AHEAD budgets are considered.
    """
    lengths = lengths[: num_considered(lengths, token_budget)]
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
    """Return the positions of the oldest prompts that fit the budget, at least one; for batches without padding."""
    return np.arange(max(1, int(np.searchsorted(np.cumsum(lengths), token_budget, side="right"))))


def num_considered(lengths: np.ndarray, token_budget: int) -> int:
    """Return how many of the oldest prompts a batch is chosen from."""
    return int(np.searchsorted(np.cumsum(lengths), LOOK_AHEAD * token_budget)) + 1


class Work(NamedTuple):
    """The next work of one lane; both lists are empty at the end.

    Attributes:
        batch: the prompts to rank.
        dropped: the prompts of abandoned requests.
        alone: no other lane runs beside this batch, so that it may use every core.
    """

    batch: list[Encoded]
    dropped: list[Encoded]
    alone: bool


@dataclass
class PromptQueue:
    """Hands the encoded prompts out in batches to one or more lanes.

    The free lanes share the queue. A prompt that arrives when the queue is empty and no batch runs is run alone on all
    cores, and the other lanes wait. Lane 0 runs all of these: OpenMP keeps a team of threads for each calling thread,
    and two teams on the same cores slow each other down. Call ``done`` after every batch of ``take``.

    Attributes:
        token_budget: most tokens of a batch, padding included.
        lanes: number of threads that call ``take``.
        pads: whether the prompts of a batch are padded to the longest, so that similar lengths belong together.
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
        """Return the next batch and the dropped prompts; blocks while there is neither."""
        with self._changed:
            while self._alone or not (self._items or self._closed) or (lane and self._is_single()):
                self._changed.wait()
            self._items, dropped = split_by_wanted(self._items)
            if not self._items:
                return Work([], dropped, False)
            # another lane gets here with a single prompt if the prompts beside it have just been dropped
            self._alone = self.lanes == 1 or (lane == 0 and self._is_single())
            self._running += 1
            return Work(self._next_batch(), dropped, self._alone)

    def done(self) -> None:
        """Note that a batch has been run."""
        with self._changed:
            self._running -= 1
            self._alone = False
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no more prompts; ``take`` returns what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_single(self) -> bool:
        return len(self._items) == 1 and not self._running

    def _next_batch(self) -> list[Encoded]:
        lengths = np.array([item.tokens for item in self._items])
        free = self.lanes - self._running + 1
        budget = min(self.token_budget, -(-int(lengths.sum()) // free)) if free > 1 else self.token_budget
        chosen = set((choose_batch if self.pads else first_that_fit)(lengths, budget).tolist())
        batch = [item for i, item in enumerate(self._items) if i in chosen]
        self._items = [item for i, item in enumerate(self._items) if i not in chosen]
        return batch
