"""Votes counted by pair of models and outcome: what a leaderboard needs of any number of votes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from p2l.data.battle_table import BattleTable
from p2l.errors import DataError
from p2l.winner import OUTCOMES


class NeedsEachVoteError(DataError):
    """Counts of votes are not enough for this; the table must be read whole."""


SWAPPED = np.array([1, 0, 2, 3])  # the outcomes after the two models have changed places
NUM_OUTCOMES = len(OUTCOMES)


@dataclass(frozen=True, eq=False, repr=False)
class BattleCounts:
    """Sums over votes by pair of models (rows) and outcome (columns, in the order of ``p2l.winner.OUTCOMES``).

    Attributes:
        models: names.
        model_a, model_b: positions in ``models`` of the pairs that met, the lower one first.
        weight: sum of weight x share of the outcome.
        moments: sums of the products of these for two outcomes of one vote: what the sandwich covariance needs.
        hard: number of votes by outcome, if every vote has one outcome and weight 1: resamples and folds are then
            drawn from the counts. None if not: they would need each vote.
        num_votes: number of votes.
    """

    models: tuple[str, ...]
    model_a: Int64[np.ndarray, " rows"]
    model_b: Int64[np.ndarray, " rows"]
    weight: Float64[np.ndarray, "rows 4"]
    moments: Float64[np.ndarray, "rows 4 4"]
    hard: Int64[np.ndarray, "rows 4"] | None
    num_votes: int

    def __len__(self) -> int:
        """Return the number of votes."""
        return self.num_votes

    def __repr__(self) -> str:
        return f"BattleCounts({self.num_votes:,} votes, {len(self.models):,} models)"

    @property
    def is_hard(self) -> bool:
        """Whether every vote has one outcome and weight 1."""
        return self.hard is not None

    @classmethod
    def of(cls, votes: BattleTable) -> "BattleCounts":
        """Count the votes of a table in memory."""
        pairs = Pairs.of(votes.model_a, votes.model_b, votes.models)
        shares = (votes.outcome_shares * votes.weight[:, None]).astype(np.float64)
        moments = pairs.moments(shares[:, :, None] * shares[:, None, :])
        return pairs.counts(pairs.sums(shares), moments, len(votes), all_hard=votes.is_hard)


@dataclass(frozen=True)
class Pairs:
    """Entries by pair of models: the row of each in ``BattleCounts``, and whether its models are swapped."""

    models: tuple[str, ...]
    pairs: Int64[np.ndarray, " rows"]
    row: Int64[np.ndarray, " entries"]
    swapped: Bool[np.ndarray, " entries"]

    @classmethod
    def of(cls, model_a: np.ndarray, model_b: np.ndarray, models: Sequence[str]) -> "Pairs":
        low, high = np.minimum(model_a, model_b), np.maximum(model_a, model_b)
        pairs, row = np.unique(low * len(models) + high, return_inverse=True)
        return cls(tuple(models), pairs, row.astype(np.int64), model_a > model_b)

    def of_one_outcome(self, outcome: np.ndarray, values: np.ndarray) -> Float64[np.ndarray, "rows 4"]:
        """Sum one value of each entry, by its outcome."""
        column = np.where(self.swapped, SWAPPED[outcome], outcome)
        found = np.bincount(self.row * NUM_OUTCOMES + column, values, len(self.pairs) * NUM_OUTCOMES)
        return found.astype(np.float64).reshape(-1, NUM_OUTCOMES)

    def sums(self, values: Float64[np.ndarray, "entries 4"]) -> Float64[np.ndarray, "rows 4"]:
        """Sum values of all outcomes of each entry."""
        return self._sum(np.where(self.swapped[:, None], values[:, SWAPPED], values))

    def moments(self, values: Float64[np.ndarray, "entries 4 4"]) -> Float64[np.ndarray, "rows 4 4"]:
        """Sum products of two outcomes of each entry."""
        values = np.where(self.swapped[:, None, None], values[:, SWAPPED][:, :, SWAPPED], values)
        return self._sum(values.reshape(len(values), -1)).reshape(-1, NUM_OUTCOMES, NUM_OUTCOMES)

    def counts(self, weight: np.ndarray, moments: np.ndarray, num_votes: int, *, all_hard: bool) -> BattleCounts:
        """Return the counts of sums by row; ``all_hard``: every vote has one outcome and weight 1."""
        hard = np.rint(weight).astype(np.int64) if all_hard else None
        low, high = self.pairs // len(self.models), self.pairs % len(self.models)
        return BattleCounts(self.models, low, high, weight, moments, hard, num_votes)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(self.row, column, len(self.pairs)) for column in values.T], axis=1)
