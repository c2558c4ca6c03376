"""Which effects of covariates the votes determine: not those of columns that are 0, collinear, or the models' own."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from p2l.leaderboard.vote_counts import VoteRows

_ROUNDING = 1e-7  # share of a column's length that the others do not explain
_BY_RIDGE = 0.02  # of the curvature along an effect; more if a column tells every winner, or hardly varies


@dataclass(frozen=True)
class EffectIdentification:
    """What the votes do not determine.

    Attributes:
        silent: covariates that are 0 in every vote with evidence.
        collinear: covariates that others, or the strengths of models, replace exactly.
        by_ridge: other covariates whose effect only the ridge keeps finite.
        models: models whose strength a covariate replaces.
    """

    silent: Bool[np.ndarray, " covariates"]
    collinear: Bool[np.ndarray, " covariates"]
    by_ridge: Bool[np.ndarray, " covariates"]
    models: Bool[np.ndarray, " models"]

    @property
    def unknown(self) -> Bool[np.ndarray, " covariates"]:
        """The effects that have no value."""
        return self.silent | self.collinear


def identify_effects(
    rows: VoteRows,
    has_evidence: Bool[np.ndarray, " rows"],
    hessian: Float64[np.ndarray, "parameters parameters"],
    ridge: float,
) -> EffectIdentification:
    """Return what the votes do not determine; ``hessian`` is that of the penalised likelihood at its minimum."""
    num_models, number = len(rows.models), len(rows.covariate_names)
    models, none = np.zeros(num_models, dtype=bool), np.zeros(number, dtype=bool)
    if rows.covariates is None:
        return EffectIdentification(none, none, none, models)
    columns = rows.covariates[has_evidence]
    largest = np.abs(columns).max(axis=0)
    silent, collinear = largest == 0, none.copy()
    told = np.flatnonzero(~silent)
    columns = columns[:, told] / largest[told]
    columns = columns / np.linalg.norm(columns, axis=0)
    strengths, rest = _explained(rows.model_a[has_evidence], rows.model_b[has_evidence], num_models, columns)
    _, lengths, directions = np.linalg.svd(np.linalg.qr(rest, mode="r"))
    lengths = np.append(lengths, np.zeros(len(told) - len(lengths)))  # of fewer votes than columns
    free = directions[lengths < _ROUNDING]
    collinear[told] = (np.abs(free) > _ROUNDING).any(axis=0)
    shifts = strengths @ free.T
    models = (np.abs(shifts - np.median(shifts, axis=0)) > _ROUNDING).any(axis=1) if len(free) else models
    by_ridge = ridge * np.linalg.pinv(hessian).diagonal()[-number:] > _BY_RIDGE
    return EffectIdentification(silent, collinear, by_ridge & ~silent & ~collinear, models)


def _explained(
    a: Int64[np.ndarray, " votes"],
    b: Int64[np.ndarray, " votes"],
    num_models: int,
    columns: Float64[np.ndarray, "votes columns"],
) -> tuple[Float64[np.ndarray, "models columns"], Float64[np.ndarray, "votes columns"]]:
    """Return the strengths of models that explain most of each column, by least squares, and what they leave."""
    met = np.bincount(a * num_models + b, minlength=num_models**2).reshape(num_models, num_models)
    met = met + met.T
    inverse = np.linalg.pinv(np.diag(met.sum(axis=1)) - met, hermitian=True)
    strengths = np.zeros((num_models, columns.shape[1]))
    for _ in range(2):  # the second time for what rounding left
        rest = columns - strengths[a] + strengths[b]
        of_models = np.zeros_like(strengths)
        np.add.at(of_models, a, rest)
        np.subtract.at(of_models, b, rest)
        strengths += inverse @ of_models
    return strengths, columns - strengths[a] + strengths[b]
