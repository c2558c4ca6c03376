"""Buffers for votes in order of arrival: replay or delay past votes, so that the model does not forget old ones.

A buffer changes neither the model nor the objective. It maps the votes of a table, in order of arrival, to the order in
which they are fed.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from p2l.data.vote_table import VoteTable
from p2l.options import check_count, check_number, check_share

Arrived = Int64[np.ndarray, " votes"]
Fed = Int64[np.ndarray, " fed"]


@runtime_checkable
class Buffer(Protocol):
    """Decides when each vote is fed: see ``ReplayBuffer`` and ``GeometricBuffer``."""

    def num_fed(self, num_votes: int, batch_size: int) -> int:
        """Return the number of rows fed in one pass over ``num_votes`` votes."""
        ...

    def order(self, arrived: Arrived, table: VoteTable, batch_size: int, rng: np.random.Generator) -> Fed:
        """Return the rows of ``table`` in the order in which they are fed; ``arrived`` are the rows by arrival."""
        ...


@dataclass(frozen=True)
class ReplayBuffer:
    """Draw a share of every batch at random from earlier votes; fill the rest with the next votes.

    The first batch holds new votes only. Draws are uniform and with replacement. Source: Online-P2L.

    Attributes:
        share: of a batch that is drawn from earlier votes.
        capacity: number of latest votes to draw from; None for all.
    """

    share: float = 0.2
    capacity: int | None = None

    def __post_init__(self) -> None:
        check_number("batching.buffer.share", self.share, least=0, below=1)
        if self.capacity is not None:
            check_count("batching.buffer.capacity", self.capacity, of="or null for all")

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
        """Return the number of votes that arrived before each batch."""
        new = batch_size - self._replayed(batch_size)
        return np.concatenate(([0], np.arange(batch_size, num_votes, new))).astype(np.int64)


@dataclass(frozen=True)
class GeometricBuffer:
    """Delay votes on models that have been seen often at random; feed votes on new models at once.

    A vote on models that took part in n_a and n_b earlier votes is delayed by Geometric(p) - 1 batches,
    p = max(epsilon, gamma ^ min(n_a, n_b)). It then goes into the first batch with room, the longest due first. Every
    vote is fed once; those still waiting at the end fill the last batches in the order in which they are due, so that
    late batches mix old votes and new. Source: Online-P2L.

    Attributes:
        gamma: a model becomes familiar after 1 / (1 - gamma) votes.
        epsilon: the mean delay of votes between familiar models is 1 / epsilon - 1 batches.
    """

    gamma: float = 0.995
    epsilon: float = 0.001

    def __post_init__(self) -> None:
        for name in ("gamma", "epsilon"):
            check_number(f"batching.buffer.{name}", getattr(self, name), above=0)
            check_share(f"batching.buffer.{name}", getattr(self, name))

    def num_fed(self, num_votes: int, batch_size: int) -> int:
        return num_votes

    def order(self, arrived: Arrived, table: VoteTable, batch_size: int, rng: np.random.Generator) -> Fed:
        seen = votes_before(table.model_a[arrived], table.model_b[arrived], len(table.models))
        delay = rng.geometric(np.maximum(self.epsilon, self.gamma**seen)) - 1
        return arrived[_in_first_batches_with_room(delay, batch_size)]


def votes_before(
    model_a: Int64[np.ndarray, " votes"], model_b: Int64[np.ndarray, " votes"], num_models: int
) -> Float64[np.ndarray, " votes"]:
    """Return for each vote, in order, the number of earlier votes of the less seen of its two models."""
    sides = np.stack([model_a, model_b], axis=1).ravel()
    by_model = np.argsort(sides, kind="stable")
    counts = np.bincount(sides, minlength=num_models)
    earlier = np.empty(len(sides))
    earlier[by_model] = np.arange(len(sides)) - np.repeat(np.cumsum(counts) - counts, counts)
    return earlier.reshape(-1, 2).min(axis=1)


def _in_first_batches_with_room(delay: Int64[np.ndarray, " votes"], batch_size: int) -> Fed:
    """Return the positions of votes in the order fed, each ``delay`` batches after the one being filled at its arrival.

    Each batch takes the votes that are due, then those without delay, until it is full.
    """
    at_once = np.flatnonzero(delay == 0)
    due_in: defaultdict[int, list[int]] = defaultdict(list)
    due: list[int] = []  # waiting for room
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
