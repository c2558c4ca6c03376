"""Selection by score: the optimiser's choice among the configured models that the P2L model ranks."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from p2l.errors import InfeasibleBudget
from p2l.outcomes import OutcomeFamily
from p2l.routing.decision import Decision, make_router
from p2l.routing.scores import Optimizer
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.eligibility import Eligibility, infeasible_budget
from p2l.serving.router.selection.routing_plan import RoutingPlan
from p2l.types import Ranking

Mask = Bool[np.ndarray, " models"]


class RankedModels:
    """The models that the P2L model ranks, with their costs and the optimiser over them.

    Args:
        config: costs, opponents and shrinkage.
        names: models in the order of the coefficients.
        family: of the P2L model.
        optimizer: how a budget is met.
    """

    def __init__(
        self, config: ServerConfig, names: tuple[str, ...], family: OutcomeFamily, optimizer: Optimizer
    ) -> None:
        self.config = config
        self.names = names
        models = config.model_configs
        self.configured = np.array([name in models for name in names])
        costs = [models[name].cost if name in models else 0.0 for name in names]
        weights = config.router.opponents
        opponents = None if weights is None else [weights.get(name, 0.0) for name in names]
        shrinkage = None if config.shrinkage is None else config.shrinkage.aligned(names)
        self.router = make_router(optimizer, family, costs, opponents, shrinkage)
        self.costs = np.array(costs)

    @property
    def unranked(self) -> list[str]:
        """The configured models without a coefficient, which only ``direct_model`` reaches."""
        return [name for name in self.config.model_configs if name not in self.names]

    def plan(
        self,
        ranking: Ranking,
        eligibility: Eligibility,
        is_available: Callable[[str], bool],
        rng: np.random.Generator,
        stream_budget: StreamBudget | None = None,
    ) -> RoutingPlan:
        """Return the optimiser's choice, with the other models within the budget as fallbacks, best score first.

        Models in cooldown are chosen only if no other model fits. Raises ApiError 400 if no model can answer or none is
        cheap enough. A request with its own budget does not use the stream budget.
        """
        able = self._able(eligibility)
        available = able & np.array([is_available(name) for name in self.names])
        budget = eligibility.request.budget
        if stream_budget is not None and budget is None:
            return self._plan_on_stream_budget(ranking, stream_budget, able, available)
        decision, mask = self._decide(ranking, budget, able, available, rng)
        ceiling = None if budget is None else max(budget, float(self.costs[decision.model]))
        candidates = self._candidates(ranking, decision.model, ceiling, able, mask)
        return RoutingPlan(candidates, "routed", self.scores(ranking), decision)

    def scores(self, ranking: Ranking) -> dict[str, float]:
        """Return the scores that clients see: shrunk, or as published (coefficients; their sigmoid if grounded)."""
        if self.router.shrinkage is not None:
            values = self.router.scores(ranking).tolist()
        else:
            coefs = ranking.coefs.double()
            values = (coefs if self.router.family.shift_invariant else coefs.sigmoid()).tolist()
        return {name: value for name, value, configured in zip(self.names, values, self.configured) if configured}

    def _plan_on_stream_budget(
        self, ranking: Ranking, stream_budget: StreamBudget, able: Mask, available: Mask
    ) -> RoutingPlan:
        """Choose at the price of the stream budget; no fallback costs more than the choice, to protect the mean."""
        mask = available if available.any() else able
        spending = stream_budget.choose(self.router.scores(ranking), self.costs, mask)
        candidates = self._candidates(ranking, spending.model, float(self.costs[spending.model]), able, mask)
        return RoutingPlan(candidates, "stream", self.scores(ranking), stream_budget=stream_budget, spending=spending)

    def _candidates(
        self, ranking: Ranking, chosen: int, ceiling: float | None, able: Mask, mask: Mask
    ) -> tuple[str, ...]:
        """Return the chosen model, then those up to the ceiling by score; models outside ``mask`` last."""
        order = [int(index) for index in self.router.ranked(ranking, ceiling, able) if index != chosen]
        order.sort(key=lambda index: not mask[index])
        return tuple(self.names[index] for index in (chosen, *order))

    def _able(self, eligibility: Eligibility) -> Mask:
        """Return which models are permitted and capable; the optimiser checks the budget."""
        models, key = self.config.model_configs, eligibility.key
        permitted = [name for name in self.names if name in models and key.may_use(name)]
        missing = {name: eligibility.required.missing(models[name]) for name in permitted}
        able = np.array([name in missing and not missing[name] for name in self.names], dtype=bool)
        if not able.any():
            raise _no_able_model(missing)
        return able

    def _decide(
        self, ranking: Ranking, budget: float | None, able: Mask, available: Mask, rng: np.random.Generator
    ) -> tuple[Decision, Mask]:
        if available.any():
            try:
                return self.router.decide(ranking, budget, rng, available), available
            except InfeasibleBudget:
                pass  # a cheaper model may be in cooldown
        try:
            return self.router.decide(ranking, budget, rng, able), able
        except InfeasibleBudget as error:
            raise infeasible_budget(self.names[error.cheapest], error.cost, error.budget) from None


def _no_able_model(missing: dict[str, list[str]]) -> ApiError:
    if not missing:
        return ApiError(403, "this key has no model that can be routed to", "no_model")
    names = sorted({name for each in missing.values() for name in each})
    return invalid(f"no model can answer this request, which needs {', '.join(names)}", code="unsupported")
