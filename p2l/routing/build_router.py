"""Build a router from plain values, and check that they fit together."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float, Float64

from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.decision import Router
from p2l.routing.risk import Risk, ScoreRisk, check_risk
from p2l.routing.scores import Opponents
from p2l.routing.shrinkage import Shrinkage

Numbers = Sequence[float] | Float[np.ndarray, " models"]


def make_router(
    optimizer: Optimizer,
    family: OutcomeFamily,
    costs: Numbers,
    opponents: Numbers | None = None,
    shrinkage: Shrinkage | None = None,
    predicted: Sequence[bool] | None = None,
    risk: Risk | None = None,
    posterior: HeadPosterior | None = None,
) -> Router:
    """Return a router over models in the order of the rankings.

    Args:
        optimizer: how a budget is met.
        family: of the rankings.
        costs: of each model, in the unit of the budgets; that of a model which is always masked has no effect.
        opponents: how often each model is met (``optimal-lp``), normalised here; None: all alike.
        shrinkage: for the same models in this order (``Shrinkage.aligned``), fitted to these scores.
        predicted: whether the cost of each model comes with the ranking of a prompt, in the same unit; ``costs`` of
            these have no effect.
        risk: quantile of the score that is maximised in place of the estimate, or "expected" (``ScoreRisk``); it goes
            without a shrinkage.
        posterior: of the checkpoint that ranks; needed for ``risk``.

    Raises ConfigError if a cost or weight is negative or not finite, or if lengths, the shrinkage or the posterior do
    not match.
    """
    if optimizer not in get_args(Optimizer):
        raise ConfigError(f"unknown optimizer {optimizer!r}; known: {', '.join(get_args(Optimizer))}")
    cost = _numbers(costs, "costs")
    weights = np.ones(len(cost)) if opponents is None else _numbers(opponents, "opponents")
    if len(weights) != len(cost) or not weights.sum() > 0:
        raise ConfigError(f"opponents: {len(cost)} weights with a positive sum are needed; got {list(weights)}")
    if shrinkage is not None:
        _check_shrinkage(shrinkage, optimizer, len(cost), opponents is None)
    mask = None if predicted is None or not any(predicted) else np.array(predicted, dtype=bool)
    if mask is not None and len(mask) != len(cost):
        raise ConfigError(f"predicted: {len(cost)} truth values are needed; got {len(mask)}")
    met = Opponents.of(weights)
    under = None if risk is None else _score_risk(risk, posterior, optimizer, family, met, len(cost), shrinkage)
    return Router(optimizer, family, cost, met, np.argsort(cost, kind="stable"), shrinkage, mask, under)


def _score_risk(
    risk: Risk,
    posterior: HeadPosterior | None,
    optimizer: Optimizer,
    family: OutcomeFamily,
    opponents: Opponents,
    num_models: int,
    shrinkage: Shrinkage | None,
) -> ScoreRisk:
    check_risk(risk)
    if posterior is None:
        raise ConfigError("risk needs the posterior of the checkpoint that ranks (p2l posterior adds one)")
    if posterior.num_models != num_models:
        raise ConfigError(f"risk: the posterior is of {posterior.num_models} models; the router has {num_models}")
    if shrinkage is not None:
        raise ConfigError("risk goes without shrinkage, which was fitted to the scores of the estimates; leave one out")
    if risk == "expected" and optimizer != "optimal-lp" and family.shift_invariant:
        raise ConfigError(
            f'risk "expected" changes nothing for {optimizer} with {family.name}: the expected coefficient is the '
            "estimate; give a quantile, such as 0.2, or take optimal-lp"
        )
    return ScoreRisk.of(risk, posterior, opponents if optimizer == "optimal-lp" else None)


def _check_shrinkage(shrinkage: Shrinkage, optimizer: Optimizer, num_models: int, alike: bool) -> None:
    if len(shrinkage.models) != num_models:
        raise ConfigError(f"shrinkage: it has {len(shrinkage.models)} models; the router has {num_models}")
    shrinkage.check(optimizer, alike)


def _numbers(values: Numbers, name: str) -> Float64[np.ndarray, " models"]:
    numbers = np.array(values, dtype=np.float64)
    if not len(numbers):
        raise ConfigError(f"{name}: at least one model is needed")
    bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise ConfigError(f"{name}: finite numbers of 0 or more are needed; that of model {bad[0]} is {values[bad[0]]}")
    return numbers
