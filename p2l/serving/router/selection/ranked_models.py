"""Selection by score: the optimiser's choice among the configured models that the P2L model ranks."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from p2l.cost_facts import CostFacts
from p2l.errors import ConfigError, InfeasibleBudget
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.routing.build_router import make_router
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.decision import Decision
from p2l.routing.erased_tail import cheapest_decision, with_common_costs
from p2l.routing.scores import published_scores
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.near_names import suggestion
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.capabilities import Requirements
from p2l.serving.router.selection.eligibility import Eligibility, infeasible_budget
from p2l.serving.router.selection.routing_plan import PredictedCost, PredictedCosts, RoutingPlan
from p2l.types import Ranking

Mask = Bool[np.ndarray, " models"]
_KINDS_OF_REQUESTS = 1024  # keys and capabilities whose models are remembered


class RankedModels:
    """The models that the P2L model ranks, with their costs and the optimiser over them.

    Args:
        config: costs, opponents and shrinkage.
        names: models in the order of the coefficients.
        family: of the P2L model.
        optimizer: how a budget is met.
        facts: of the costs that the P2L model predicts; None: it predicts none.
        posterior: of the P2L model; None: it has none.

    Raises ConfigError if a cost is to be predicted and is not, or is in another unit than the configuration's, or if
    the configuration has a risk and there is no posterior.

    Attributes:
        unscored: mean cost of each model whose cost is predicted, for a request without a scored prompt.
    """

    def __init__(
        self,
        config: ServerConfig,
        names: tuple[str, ...],
        family: OutcomeFamily,
        optimizer: Optimizer,
        facts: CostFacts | None = None,
        posterior: HeadPosterior | None = None,
    ) -> None:
        check_costs(config, facts)
        check_posterior(config, posterior)
        self.config = config
        self.names = names
        self.facts = facts
        models = config.model_configs
        self.configured = np.array([name in models for name in names])
        predicted = [name in config.predicted for name in names]
        costs = [models[name].fixed_cost if name in models and name not in config.predicted else 0.0 for name in names]
        weights = config.router.opponents
        opponents = None if weights is None else [weights.get(name, 0.0) for name in names]
        shrinkage = None if config.shrinkage is None else config.shrinkage.aligned(names)
        self.router = make_router(
            optimizer, family, costs, opponents, shrinkage, predicted, config.router.risk, posterior
        )
        self.unscored = {name: self._predicted_cost(name, facts.mean[name]) for name in config.predicted if facts}
        lengths = [models[name].capabilities.context_length if name in models else None for name in names]
        self._lengths = np.array([np.inf if length is None else length for length in lengths])
        self._shown = [name for name in names if name in models]
        self._capable = lru_cache(_KINDS_OF_REQUESTS)(self._find_capable)

    def fits(
        self, config: ServerConfig, names: tuple[str, ...], family: OutcomeFamily, facts: CostFacts | None
    ) -> bool:
        """Return whether these are the models of this configuration and P2L model."""
        known = self.config is config and self.names == names and self.router.family is family
        return known and self.facts == facts

    @property
    def unranked(self) -> list[str]:
        """The configured models without a coefficient, which only ``direct_model`` reaches."""
        return [name for name in self.config.model_configs if name not in self.names]

    def plan(
        self,
        readings: Sequence[Ranking],
        eligibility: Eligibility,
        is_available: Callable[[str], bool],
        rng: np.random.Generator,
        stream_budget: StreamBudget | None = None,
    ) -> RoutingPlan:
        """Return the optimiser's choice, with the other models within the budget as fallbacks, best score first.

        ``readings``: rankings of the prompt and of parts of it; the cheapest of their decisions is taken, and fallbacks
        and scores are those of its reading. Models in cooldown are chosen only if no other model fits. Raises ApiError
        400 if no model can answer or none is cheap enough. A request with its own budget does not use the stream
        budget.
        """
        readings = with_common_costs(readings)
        able = self._able(eligibility)
        available = able & np.array([is_available(name) for name in self.names])
        budget = eligibility.request.budget_per_choice
        if stream_budget is not None and budget is None:
            return self._plan_on_stream_budget(readings, stream_budget, able, available)
        decision, mask = self._decide(readings, eligibility.request, able, available, rng)
        ranking = decision.ranking
        costs = self.router.costs_of(ranking)
        ceiling = None if budget is None else max(budget, float(costs[decision.model]))
        candidates = self._candidates(ranking, decision.model, ceiling, able, mask)
        predicted = self._predicted_costs(candidates, costs)
        is_part = ranking is not readings[0]
        return RoutingPlan(
            candidates,
            "routed",
            self.scores(ranking),
            decision,
            costs=predicted,
            tail_erased=is_part,
            risk=self.config.router.risk,
        )

    def scores(self, ranking: Ranking) -> dict[str, float]:
        """Return the scores that clients see: shrunk, or by the risk, or as published (coefficients; their sigmoid if
        grounded)."""
        is_own = self.router.shrinkage is not None or self.router.risk is not None
        values = self.router.scores(ranking) if is_own else published_scores(self.router.family, ranking)
        return dict(zip(self._shown, values[self.configured].tolist()))

    def _plan_on_stream_budget(
        self, readings: Sequence[Ranking], stream_budget: StreamBudget, able: Mask, available: Mask
    ) -> RoutingPlan:
        """Choose at the price of the stream budget; no fallback costs more than the choice, to protect the mean."""
        mask = available if available.any() else able
        costs = self.router.costs_of(readings[0])
        spending = stream_budget.choose(np.stack([self.router.scores(one) for one in readings]), costs, mask)
        ranking = readings[spending.reading]
        candidates = self._candidates(ranking, spending.model, float(costs[spending.model]), able, mask)
        return RoutingPlan(
            candidates,
            "stream",
            self.scores(ranking),
            stream_budget=stream_budget,
            spending=spending,
            costs=self._predicted_costs(candidates, costs),
            tail_erased=spending.reading > 0,
            risk=self.config.router.risk,
        )

    def _predicted_costs(self, candidates: tuple[str, ...], costs: np.ndarray) -> PredictedCosts:
        predicted = [name for name in candidates if name in self.unscored]
        return {name: self._predicted_cost(name, float(costs[self.names.index(name)])) for name in predicted}

    def _predicted_cost(self, name: str, cost: float) -> PredictedCost:
        """Return the cost of an answer; 95 % of the answers in the training table stayed below the amount to hold."""
        assert self.facts is not None, "costs are predicted"
        return PredictedCost(cost, cost * self.facts.bound[name])

    def _candidates(
        self, ranking: Ranking, chosen: int, ceiling: float | None, able: Mask, mask: Mask
    ) -> tuple[str, ...]:
        """Return the chosen model, then those up to the ceiling by score; models outside ``mask`` last."""
        order = self.router.ranked(ranking, ceiling, able)
        order = order[order != chosen]
        within = mask[order]
        return tuple(self.names[index] for index in (chosen, *order[within].tolist(), *order[~within].tolist()))

    def _able(self, eligibility: Eligibility) -> Mask:
        """Return which models are permitted and capable; the optimiser checks the budget."""
        key, required = eligibility.key, eligibility.required
        able = self._capable(key, required.capabilities) & (required.num_tokens <= self._lengths)
        if not able.any():
            raise _no_able_model(self._missing(key, required))
        return able

    def _find_capable(self, key: KeyConfig, capabilities: frozenset[str]) -> Mask:
        """Return which models the key may use that have the capabilities, for a request of any length."""
        missing = self._missing(key, Requirements(capabilities, 0))
        return np.array([name in missing and not missing[name] for name in self.names], dtype=bool)

    def _missing(self, key: KeyConfig, required: Requirements) -> dict[str, list[str]]:
        """Return what each model that the key may use lacks."""
        models = self.config.model_configs
        permitted = [name for name in self._shown if key.may_use(name)]
        return {name: required.missing(models[name]) for name in permitted}

    def _decide(
        self, readings: Sequence[Ranking], request: ChatRequest, able: Mask, available: Mask, rng: np.random.Generator
    ) -> tuple[Decision, Mask]:
        budget = request.budget_per_choice
        if available.any():
            try:
                return cheapest_decision(self.router, readings, budget, rng, available), available
            except InfeasibleBudget:
                pass  # a cheaper model may be in cooldown
        try:
            return cheapest_decision(self.router, readings, budget, rng, able), able
        except InfeasibleBudget as error:
            raise infeasible_budget(self.names[error.cheapest], error.cost, request) from None


def check_costs(config: ServerConfig, facts: CostFacts | None) -> None:
    """Raise ConfigError unless the P2L model predicts what the configuration asks for, in its unit."""
    if not config.predicted:
        return
    if facts is None:
        raise ConfigError(
            f"model_configs.{config.predicted[0]}: the cost is to be predicted, and the P2L model predicts no costs; "
            "give a number, or a checkpoint with costs.npz (p2l fit-costs adds one)"
        )
    if lacking := [name for name in config.predicted if name not in facts.mean]:
        hint = suggestion(lacking[0], facts.mean)
        raise ConfigError(f"model_configs.{lacking[0]}: the P2L model predicts no cost of a model of this name{hint}")
    if config.router.cost_unit not in (None, facts.unit):
        raise ConfigError(
            f"router.cost_unit is {config.router.cost_unit!r}, and the P2L model predicts costs in {facts.unit!r}; "
            "state all costs in the unit of the predictions"
        )


def check_posterior(config: ServerConfig, posterior: HeadPosterior | None) -> None:
    """Raise ConfigError if the configuration has a risk and the P2L model no posterior."""
    if config.router.risk is not None and posterior is None:
        raise ConfigError(
            "router.risk needs a P2L model with a posterior in this process: --router-model-path with a checkpoint "
            "that has posterior.npz (p2l posterior adds one); an endpoint does not send what it needs"
        )


def _no_able_model(missing: dict[str, list[str]]) -> ApiError:
    if not missing:
        return ApiError(403, "this key has no model that can be routed to", "no_model")
    names = sorted({name for each in missing.values() for name in each})
    return invalid(f"no model can answer this request, which needs {', '.join(names)}", code="unsupported")
