"""Orders for votes that arrive in time: what of the past is fed again, or put off, so that the old is not forgotten.

Neither buffer changes the model or the objective: each turns the votes of a table, in the order in which they arrived,
into the order in which they are fed.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError

Arrived = Int64[np.ndarray, " votes"]
Fed = Int64[np.ndarray, " fed"]


@runtime_checkable
class Buffer(Protocol):
    """Which votes are fed when: see ``ReplayBuffer`` and ``GeometricBuffer``."""

    def num_fed(self, num_votes: int, batch_size: int) -> int:
        """Rows that are fed in one pass over ``num_votes`` votes."""
        ...

    def order(self, arrived: Arrived, table: VoteTable, batch_size: int, rng: np.random.Generator) -> Fed:
        """The rows of ``table`` in the order in which they are fed, of those that ``arrived``, first come first."""
        ...


@dataclass(frozen=True)
class ReplayBuffer:
    """A share of every batch is drawn at random from the votes that came before; the rest are the next votes.

    The first batch has no past and is all new. Draws are uniform and with replacement. Source: Online-P2L.

    Attributes:
        share: of a batch that is drawn from the past.
        capacity: how many past votes are kept, the latest; None for all.
    """

    share: float = 0.2
    capacity: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"batching.buffer.share lies between 0 and 1 (1 left out); got {self.share}")
        if self.capacity is not None and self.capacity < 1:
            raise ConfigError(f"batching.buffer.capacity must be positive, or null for all; got {self.capacity}")

    def num_fed(self, num_votes: int, batch_size: int) -> int:
        return num_votes + self._replayed(batch_size) * (len(self._starts(num_votes, batch_size)) - 1)

    def order(self, arrived: Arrived, table: VoteTable, batch_size: int, rng: np.random.Generator) -> Fed:
        starts = self._starts(len(arrived), batch_size)[1:]
        oldest = np.zeros_like(starts) if self.capacity is None else np.maximum(0, starts - self.capacity)
        drawn = rng.integers(oldest[:, None], starts[:, None], size=(len(starts), self._replayed(batch_size)))
        return np.insert(arrived, np.repeat(starts, drawn.shape[1]), arrived[drawn.ravel()])

    def _replayed(self, batch_size: int) -> int:
        return min(round(self.share * batch_size), batch_size - 1)

    def _starts(self, num_votes: int, batch_size: int) -> Int64[np.ndarray, " batches"]:
        """How many votes have come before each batch."""
        new = batch_size - self._replayed(batch_size)
        return np.concatenate(([0], np.arange(batch_size, num_votes, new))).astype(np.int64)


@dataclass(frozen=True)
class GeometricBuffer:
    """Votes on models that have been seen often are put off at random; votes on new models are fed at once.

    A vote on models that took part in n_a and n_b votes before it is put off by Geometric(p) - 1 batches,
    p = max(epsilon, gamma ^ min(n_a, n_b)), and then goes into the first batch with room, the longest due first. Every
    vote is fed once; those still waiting at the end fill the last batches in the order in which they are due, so that
    late batches mix old votes and new. Source: Online-P2L.

    Attributes:
        gamma: how fast a model becomes familiar: after 1 / (1 - gamma) votes.
        epsilon: 1 / epsilon - 1 batches are the mean delay of votes between familiar models.
    """

    gamma: float = 0.995
    epsilon: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or not 0 < self.epsilon <= 1:
            raise ConfigError(
                f"batching.buffer.gamma and epsilon lie between 0 (left out) and 1; got {self.gamma} and {self.epsilon}"
            )

    def num_fed(self, num_votes: int, batch_size: int) -> int:
        return num_votes

    def order(self, arrived: Arrived, table: VoteTable, batch_size: int, rng: np.random.Generator) -> Fed:
        seen = votes_before(table.model_a[arrived], table.model_b[arrived], len(table.models))
        delay = rng.geometric(np.maximum(self.epsilon, self.gamma**seen)) - 1
        return arrived[_in_first_batches_with_room(delay, batch_size)]


def votes_before(
    model_a: Int64[np.ndarray, " votes"], model_b: Int64[np.ndarray, " votes"], num_models: int
) -> Float64[np.ndarray, " votes"]:
    """For each vote, in order, how many earlier votes the less seen of its two models took part in."""
    sides = np.stack([model_a, model_b], axis=1).ravel()
    by_model = np.argsort(sides, kind="stable")
    counts = np.bincount(sides, minlength=num_models)
    earlier = np.empty(len(sides))
    earlier[by_model] = np.arange(len(sides)) - np.repeat(np.cumsum(counts) - counts, counts)
    return earlier.reshape(-1, 2).min(axis=1)


def _in_first_batches_with_room(delay: Int64[np.ndarray, " votes"], batch_size: int) -> Fed:
    """The positions of votes in the order fed: each ``delay`` batches after the one that was being filled as it came.

    Batch by batch: first the votes that are due, then those that come without delay, until it is full.
    """
    at_once = np.flatnonzero(delay == 0)
    due_in: defaultdict[int, list[int]] = defaultdict(list)
    due: list[int] = []  # and found no room yet
    order: list[int] = []
    come = taken = batch = 0
    while come < len(delay):
        due += due_in.pop(batch, [])
        room = max(0, batch_size - len(due))
        direct = at_once[taken : taken + room]
        if room:
            stop = int(direct[-1]) + 1 if len(direct) == room else len(delay)
            late = come + np.flatnonzero(delay[come:stop])
            for when, vote in zip((batch + delay[late]).tolist(), late.tolist(), strict=True):
                due_in[when].append(vote)
            come = stop
        order += due[:batch_size] + direct.tolist()
        due, taken, batch = due[batch_size:], taken + len(direct), batch + 1
    return np.array(order + due + list(chain.from_iterable(due_in[when] for when in sorted(due_in))), dtype=np.int64)
