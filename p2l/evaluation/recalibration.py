"""Recalibrate rankings to votes that they were not trained on: one scale and shift of coefs, and of eta."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.optimize import minimize
from torch import Tensor

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Recalibration:
    """An affine map of every ranking, so that it can be folded into a linear head.

    coefs' = ``scale`` coefs + ``offset``; eta' = ``eta_scale`` eta + ``eta_offset``. The offset is
    (1 - scale) mean + shift, with the mean leaderboard of the prompts it was fitted to: ``scale`` 0 is that one
    leaderboard for all prompts, 1 leaves the differences between prompts as they were. A scale is never negative.
    """

    scale: float
    offset: Float64[np.ndarray, " models"]
    eta_scale: float = 1.0
    eta_offset: float = 0.0

    def apply(self, ranking: Ranking) -> Ranking:
        coefs = self.scale * ranking.coefs + torch.from_numpy(self.offset).to(ranking.coefs)
        return Ranking(coefs, None if ranking.eta is None else self.eta_scale * ranking.eta + self.eta_offset)


def fit_recalibration(family: OutcomeFamily, rankings: Ranking, votes: VoteTable) -> Recalibration:
    """Return the map that minimises the log loss of the votes; row i of ``rankings`` belongs to prompt i.

    Families in which a shift of all coefs changes nothing have no shift; those without eta no eta_scale.
    """
    rankings = rankings.map(lambda values: values.double())
    mean = rankings.coefs.mean(dim=0)
    eta_mean = 0.0 if rankings.eta is None else float(rankings.eta.mean())
    free = np.array([True, not family.shift_invariant, rankings.eta is not None, rankings.eta is not None])

    def mapped(parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        scale, shift, eta_scale, eta_shift = parameters
        coefs = mean + shift + scale * (rankings.coefs - mean)
        return coefs, None if rankings.eta is None else eta_mean + eta_shift + eta_scale * (rankings.eta - eta_mean)

    loss = _loss(family, votes, mapped)
    start = np.array([1.0, 0.0, 1.0, 0.0])
    bounds = [(0.0, None) if at in (0, 2) else (None, None) for at in range(4)]
    bounds = [bound if is_free else (value, value) for bound, is_free, value in zip(bounds, free, start, strict=True)]
    scale, shift, eta_scale, eta_shift = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    offset = (1 - scale) * mean.numpy() + shift
    return Recalibration(float(scale), offset, float(eta_scale), float((1 - eta_scale) * eta_mean + eta_shift))


def _loss(
    family: OutcomeFamily, votes: VoteTable, mapped: Callable[[Tensor], tuple[Tensor, Tensor | None]]
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return the mean log loss of the votes and its gradient, as a function of the parameters."""
    prompt, a, b = (torch.from_numpy(values) for values in (votes.prompt_index, votes.model_a, votes.model_b))
    weight = torch.from_numpy(votes.weight.astype(np.float64))
    shares = torch.from_numpy(votes.outcome_shares.astype(np.float64))
    targets = shares @ family.target_matrix(shares)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(values, requires_grad=True)
        coefs, eta = mapped(parameters)
        log_probs = family.log_probs(coefs[prompt, a], coefs[prompt, b], None if eta is None else eta[prompt])
        mean = -(weight * (targets * log_probs).sum(dim=-1)).sum() / weight.sum()
        mean.backward()
        assert parameters.grad is not None
        return float(mean.detach()), parameters.grad.numpy()

    return loss


def cross_fitted(family: OutcomeFamily, rankings: Ranking, votes: VoteTable, seed: int = 0) -> Ranking:
    """Return each ranking under the map fitted to the prompts of the other folds, so that no vote judges its own fit.

    Raises DataError for fewer prompts than folds.
    """
    if len(votes.prompts) < FOLDS:
        raise DataError(f"recalibration needs votes on at least {FOLDS} prompts; there are {len(votes.prompts)}")
    fold = np.random.default_rng(seed).permutation(len(votes.prompts)) % FOLDS
    coefs, eta = rankings.coefs.clone(), None if rankings.eta is None else rankings.eta.clone()
    for number in range(FOLDS):
        within, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        found = fit_recalibration(family, *_only(rankings, votes, others)).apply(_rows(rankings, within))
        coefs[within] = found.coefs
        if eta is not None and found.eta is not None:
            eta[within] = found.eta
    return Ranking(coefs, eta)


def _only(rankings: Ranking, votes: VoteTable, prompts: Int64[np.ndarray, " some"]) -> tuple[Ranking, VoteTable]:
    """Return the rankings and the votes of some prompts."""
    chosen = votes.select(np.flatnonzero(np.isin(votes.prompt_index, prompts)))
    place = {turns: at for at, turns in enumerate(votes.prompts)}
    return _rows(rankings, np.array([place[turns] for turns in chosen.prompts])), chosen


def _rows(rankings: Ranking, at: Int64[np.ndarray, " some"]) -> Ranking:
    return rankings.map(lambda values: values[torch.from_numpy(at)])
