"""Collect votes for one leaderboard: counted by pair of models, or one by one if they have covariates or shares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from p2l.data.battle_counts import NUM_OUTCOMES, SWAPPED, BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import BattleTable
from p2l.errors import DataError
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.outcomes import OutcomeFamily
from p2l.statistics.bootstrap import resampled_rows

PairWeights = Literal["votes", "uniform"]


@dataclass(frozen=True, eq=False)
class VoteRows:
    """Row r holds the votes of ``model_a[r]`` against ``model_b[r]``: their ``weight`` by outcome.

    Hard votes without covariates are counted: a row is an unordered pair of models that met, and vote v counts in
    ``weight[row[v], outcome[v]]``. Otherwise every vote has its own row, which may hold shares of several outcomes, and
    ``outcome`` is None. Of counts no single vote is known: ``row`` and ``vote_weight`` are empty, and ``moments`` has
    the sums over votes of the products of their weights for two outcomes.
    """

    models: tuple[str, ...]
    model_a: Int64[np.ndarray, " rows"]
    model_b: Int64[np.ndarray, " rows"]
    weight: Float64[np.ndarray, "rows 4"]
    row: Int64[np.ndarray, " votes"]
    outcome: Int64[np.ndarray, " votes"] | None
    vote_weight: Shaped[np.ndarray, " votes"]
    covariates: Float64[np.ndarray, "rows covariates"] | None = None
    covariate_names: tuple[str, ...] = ()
    moments: Float64[np.ndarray, "rows 4 4"] | None = None

    def likelihood(self, family: OutcomeFamily) -> PairLikelihood:
        """Return the likelihood of these rows under a family."""
        covariates = None if self.covariates is None else torch.from_numpy(self.covariates)
        a, b = torch.from_numpy(self.model_a), torch.from_numpy(self.model_b)
        return PairLikelihood(family, a, b, len(self.models), covariates)

    def weight_of(self, votes: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, "rows 4"]:
        """Return ``weight`` of a resample: these votes alone, some perhaps several times."""
        if self.outcome is None:
            return self.weight * np.bincount(votes, minlength=len(self.row))[:, None]
        cells = self.row[votes] * NUM_OUTCOMES + self.outcome[votes]
        return np.bincount(cells, self.vote_weight[votes], self.weight.size).reshape(self.weight.shape)

    def squares(self) -> Float64[np.ndarray, "rows 4"]:
        """Return the sums of squared weights of counted votes."""
        assert self.outcome is not None
        if (self.vote_weight == 1).all():
            return self.weight
        cells = self.row * NUM_OUTCOMES + self.outcome
        squares = self.vote_weight.astype(np.float64) ** 2
        return np.bincount(cells, squares, self.weight.size).reshape(self.weight.shape)


def shares_of(weight: Float64[np.ndarray, "*sets rows 4"], family: OutcomeFamily) -> Tensor:
    """Convert weights by outcome of a vote to weights by outcome of the family, float64."""
    return torch.from_numpy(weight @ np.asarray(family.targets, dtype=np.float64))


def gather(
    votes: BattleTable | BattleCounts,
    covariates: Mapping[str, np.ndarray] | None = None,
    pair_weights: PairWeights = "votes",
) -> VoteRows:
    """Collect the rows of a table; ``covariates`` and ``pair_weights`` as in ``p2l.leaderboard.fit``."""
    if isinstance(votes, BattleCounts):
        return _of_counts(votes, pair_weights)
    weight = votes.weight * _inverse_propensity(votes) if pair_weights == "uniform" else votes.weight
    names, columns = _covariate_columns(covariates)
    outcome = votes.outcome_shares.argmax(axis=1)
    hard = (votes.outcome_shares[np.arange(len(votes)), outcome] == 1).all()
    if hard and columns is None:
        return _counted(votes, outcome, weight)
    by_outcome = (votes.outcome_shares * weight[:, None]).astype(np.float64)
    row = np.arange(len(votes))
    return VoteRows(votes.models, votes.model_a, votes.model_b, by_outcome, row, None, weight, columns, names)


def resampled_weights(
    votes: BattleTable | BattleCounts,
    rows: VoteRows,
    cluster: Int64[np.ndarray, " votes"] | None,
    count: int,
    seed: int,
) -> Iterator[Float64[np.ndarray, "rows 4"]]:
    """Yield ``weight`` of ``count`` resamples of the votes, or of whole clusters.

    Of counts, how often each cell is drawn is multinomial, as in a resample of votes. Raises ``NeedsEachVoteError``
    for counts of weighted or soft votes, which must be drawn one by one.
    """
    if not isinstance(votes, BattleCounts):
        yield from (rows.weight_of(drawn) for drawn in resampled_rows(len(votes), cluster, count, seed))
        return
    hard = hard_counts(votes, "a bootstrap").ravel()
    weight_of_vote = rows.weight.ravel() / np.maximum(hard, 1)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield (rng.multinomial(len(votes), hard / hard.sum()) * weight_of_vote).reshape(rows.weight.shape)


def hard_counts(counts: BattleCounts, purpose: str) -> Int64[np.ndarray, "rows 4"]:
    """Return the number of votes by outcome; ``NeedsEachVoteError`` if the votes have weights or shares."""
    if counts.hard is None:
        raise NeedsEachVoteError(
            f"{purpose} of weighted or soft votes needs each vote, and these are counted; read the table whole "
            "(stream=false), or leave it out"
        )
    return counts.hard


def _of_counts(votes: BattleCounts, pair_weights: PairWeights) -> VoteRows:
    factor = np.ones(len(votes.model_a))
    if pair_weights == "uniform":
        of_pair = votes.weight.sum(axis=1)
        factor = _scaled_inverse(of_pair, of_pair)
    nothing = np.zeros(0, dtype=np.int64)
    return VoteRows(
        votes.models,
        votes.model_a,
        votes.model_b,
        votes.weight * factor[:, None],
        row=nothing,
        outcome=None,
        vote_weight=nothing,
        moments=votes.moments * factor[:, None, None] ** 2,
    )


def _counted(votes: BattleTable, outcome: np.ndarray, weight: np.ndarray) -> VoteRows:
    num_models = len(votes.models)
    swap = votes.model_a > votes.model_b
    low, high = np.minimum(votes.model_a, votes.model_b), np.maximum(votes.model_a, votes.model_b)
    outcome = np.where(swap, SWAPPED[outcome], outcome)
    pair = low * num_models + high
    cells = np.bincount(
        pair * NUM_OUTCOMES + outcome, None if (weight == 1).all() else weight, num_models**2 * NUM_OUTCOMES
    )
    met = np.bincount(pair, minlength=num_models**2) > 0
    row_of_pair = np.cumsum(met) - 1
    pairs = np.flatnonzero(met)
    by_outcome = cells.reshape(-1, NUM_OUTCOMES)[pairs].astype(np.float64)
    return VoteRows(
        votes.models, pairs // num_models, pairs % num_models, by_outcome, row_of_pair[pair], outcome, weight
    )


def _inverse_propensity(votes: BattleTable) -> np.ndarray:
    """Return for each vote one over the share of its pair among all votes, scaled to mean 1."""
    low, high = np.minimum(votes.model_a, votes.model_b), np.maximum(votes.model_a, votes.model_b)
    pair = low * len(votes.models) + high
    return _scaled_inverse(np.bincount(pair, weights=votes.weight)[pair], votes.weight).astype(np.float32)


def _scaled_inverse(of_pair: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return one over the weight of a pair, with mean 1 over ``weight``."""
    if not weight.any():
        raise DataError("all votes have weight 0, which is no evidence; give some a positive weight")
    inverse = 1 / np.maximum(of_pair, 1e-12)
    return inverse / np.average(inverse, weights=weight)


def _covariate_columns(
    covariates: Mapping[str, np.ndarray] | None,
) -> tuple[tuple[str, ...], Float64[np.ndarray, "votes covariates"] | None]:
    if not covariates:
        return (), None
    columns = [_finite_numbers(name, values) for name, values in covariates.items()]
    return tuple(covariates), np.stack(columns, axis=1)


def _finite_numbers(name: str, values: np.ndarray) -> Float64[np.ndarray, " votes"]:
    numbers = np.asarray(pd.to_numeric(pd.Series(values), errors="coerce"), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise DataError(
            f"covariate {name}: expected finite numbers; they are not in {bad.size:,} votes, first in vote {bad[0]}: "
            f"{str(values[bad[0]])[:60]!r}; give a column of numbers, or drop these votes"
        )
    return numbers
