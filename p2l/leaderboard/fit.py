"""One leaderboard for all votes: the marginal fit of a likelihood family, from counts."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from p2l.data.votes import VoteTable
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)

MAX_NEWTON_STEPS = 100
GRADIENT_TOLERANCE = 1e-6  # nats, over all votes


def count_outcomes(table: VoteTable, family: OutcomeFamily) -> Float[Tensor, "models models outcomes"]:
    """Weighted votes by ordered pair of models and outcome; soft votes and half-win ties add shares."""
    shares = (table.kinds.astype(np.float64) @ np.asarray(family.targets)) * table.weight[:, None].astype(np.float64)
    num_models, num_outcomes = len(table.models), len(family.outcomes)
    pair = table.model_a * num_models + table.model_b
    counts = [np.bincount(pair, weights=share, minlength=num_models**2) for share in shares.T]
    return torch.from_numpy(np.stack(counts, axis=-1).reshape(num_models, num_models, num_outcomes))


def fit_votes(table: VoteTable, family: OutcomeFamily) -> Ranking:
    """``fit_marginal`` of the votes of a table."""
    return fit_marginal(count_outcomes(table, family), family)


def fit_marginal(
    counts: Float[Tensor, "models models outcomes"], family: OutcomeFamily, *, ridge: float = 1e-3
) -> Ranking:
    """The maximum-likelihood leaderboard of the counts: Newton with step halving, in float64.

    ``ridge`` adds ``ridge / 2 * |parameters|^2`` nats to the total negative log-likelihood, so that a model that
    never lost, or a disconnected graph, has a finite answer; against thousands of votes it does not show. Families
    that are shift-invariant get mean 0.

    Returns:
        Ranking of coefs (models,) and eta () or None, float64.
    """
    num_models = counts.shape[0]
    parameters = torch.zeros(num_models + family.num_eta, dtype=torch.float64)

    def objective(p: Tensor) -> Tensor:
        coefs, eta = p[:num_models], p[num_models:].reshape(-1, 1) if family.num_eta else None
        log_probs = family.log_probs(coefs[:, None], coefs[None, :], eta)
        return -(counts * log_probs).sum() + 0.5 * ridge * p.square().sum()

    value_and_grad = torch.func.grad_and_value(objective)
    for _ in range(MAX_NEWTON_STEPS):
        gradient, value = value_and_grad(parameters)
        if gradient.abs().max() < GRADIENT_TOLERANCE:
            break
        lower = _descend(objective, parameters, gradient, value)
        if lower is parameters:  # no step is downhill: as exact as float64 gets
            break
        parameters = lower
    else:
        log.warning("the marginal fit did not converge in %d Newton steps", MAX_NEWTON_STEPS)
    coefs = parameters[:num_models]
    if family.shift_invariant:
        coefs = coefs - coefs.mean()
    return Ranking(coefs, parameters[num_models] if family.num_eta else None)


def _descend(objective: Callable[[Tensor], Tensor], parameters: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """One Newton step, halved until the objective falls, or ``parameters`` themselves where it never does.

    The Hessian is made positive definite by the absolute values of its eigenvalues.
    """
    hessian = torch.func.hessian(objective)(parameters)
    values, vectors = torch.linalg.eigh(hessian)
    curvature = values.abs().clamp(min=1e-9 * float(values.abs().max()))
    step = vectors @ ((vectors.T @ gradient) / curvature)
    for _ in range(40):
        candidate = parameters - step
        if objective(candidate) < value:
            return candidate
        step = step / 2
    return parameters
