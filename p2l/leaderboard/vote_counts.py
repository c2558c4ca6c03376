"""Collect votes for one leaderboard: counted by pair of models, or one by one if they have covariates or shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from p2l.data.battle_table import BattleTable
from p2l.errors import DataError
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.outcomes import OutcomeFamily

PairWeights = Literal["votes", "uniform"]

NUM_OUTCOMES = 4
_SWAPPED_OUTCOMES = np.array([1, 0, 2, 3])  # the outcomes after the two models have changed places


@dataclass(frozen=True, eq=False)
class VoteRows:
    """Row r holds the votes of ``model_a[r]`` against ``model_b[r]``: their ``weight`` by outcome.

    Hard votes without covariates are counted: a row is an unordered pair of models that met, and vote v counts in
    ``weight[row[v], outcome[v]]``. Otherwise every vote has its own row, which may hold shares of several outcomes, and
    ``outcome`` is None.
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
    votes: BattleTable, covariates: Mapping[str, np.ndarray] | None = None, pair_weights: PairWeights = "votes"
) -> VoteRows:
    """Collect the rows of a table; ``covariates`` and ``pair_weights`` as in ``p2l.leaderboard.fit``."""
    weight = votes.weight * _inverse_propensity(votes) if pair_weights == "uniform" else votes.weight
    names, columns = _covariate_columns(covariates)
    outcome = votes.outcome_shares.argmax(axis=1)
    hard = (votes.outcome_shares[np.arange(len(votes)), outcome] == 1).all()
    if hard and columns is None:
        return _counted(votes, outcome, weight)
    by_outcome = (votes.outcome_shares * weight[:, None]).astype(np.float64)
    row = np.arange(len(votes))
    return VoteRows(votes.models, votes.model_a, votes.model_b, by_outcome, row, None, weight, columns, names)


def _counted(votes: BattleTable, outcome: np.ndarray, weight: np.ndarray) -> VoteRows:
    num_models = len(votes.models)
    swap = votes.model_a > votes.model_b
    low, high = np.minimum(votes.model_a, votes.model_b), np.maximum(votes.model_a, votes.model_b)
    outcome = np.where(swap, _SWAPPED_OUTCOMES[outcome], outcome)
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
    if not votes.weight.any():
        raise DataError("all votes have weight 0, which is no evidence; give some a positive weight")
    low, high = np.minimum(votes.model_a, votes.model_b), np.maximum(votes.model_a, votes.model_b)
    pair = low * len(votes.models) + high
    inverse = 1 / np.maximum(np.bincount(pair, weights=votes.weight), 1e-12)[pair]
    return (inverse / np.average(inverse, weights=votes.weight)).astype(np.float32)


def _covariate_columns(
    covariates: Mapping[str, np.ndarray] | None,
) -> tuple[tuple[str, ...], Float64[np.ndarray, "votes covariates"] | None]:
    if not covariates:
        return (), None
    columns = np.stack([pd.to_numeric(values, errors="coerce") for values in covariates.values()], axis=1)
    columns = columns.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(columns).all(axis=1))
    if bad.size:
        raise DataError(
            f"covariates must be finite numbers; they are not in {bad.size:,} votes, first in vote {bad[0]}"
        )
    return tuple(covariates), columns
