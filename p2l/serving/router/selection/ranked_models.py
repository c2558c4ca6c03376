"""Selection by score: the optimiser's choice among the configured models that the P2L model ranks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from p2l.cost_facts import CostFacts
from p2l.errors import ConfigError, InfeasibleBudget
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.routing.build_router import make_router
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.decision import Decision, Router
from p2l.routing.erased_tail import cheapest_decision, with_common_costs
from p2l.routing.scores import published_scores
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.near_names import suggestion
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.conversation.session_costs import Conversation, SessionCosts, SessionPrices
from p2l.serving.router.selection.capabilities import Requirements
from p2l.serving.router.selection.eligibility import Eligibility, infeasible_budget, no_able_model
from p2l.serving.router.selection.routing_plan import PredictedCost, PredictedCosts, RoutingPlan, SwitchPrices
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
        self._session_prices = SessionPrices(config, names)
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
        conversation: Conversation | None = None,
        better_than: str | None = None,
    ) -> RoutingPlan:
        """Return the optimiser's choice, with the other models within the budget as fallbacks, best score first.

        ``readings``: rankings of the prompt and of parts of it; the cheapest of their decisions is taken, and fallbacks
        and scores are those of its reading. Models in cooldown are chosen only if no other model fits. Raises ApiError
        400 if no model can answer or none is cheap enough. A request with its own budget does not use the stream
        budget. ``conversation`` adds its costs to those of the models. ``better_than`` leaves models that score higher
        than this one; if there is none, itself.
        """
        readings = with_common_costs(readings)
        session = None if conversation is None else self._session_prices.costs(conversation)
        able = self._able(eligibility)
        if better_than is not None:
            able = self._better(readings[0], better_than, able)
        available = able & np.array([is_available(name) for name in self.names])
        budget = eligibility.request.budget_per_choice
        if stream_budget is not None and budget is None:
            return self._plan_on_stream_budget(readings, stream_budget, able, available, session)
        decision, mask = self._decide(readings, eligibility.request, able, available, rng, session)
        ranking = decision.ranking
        costs = decision.router.costs_of(ranking)
        ceiling = None if budget is None else max(budget, float(costs[decision.model]))
        candidates = self._candidates(decision.router, ranking, decision.model, ceiling, able, mask)
        return RoutingPlan(
            candidates,
            "routed",
            self.scores(ranking),
            decision,
            risk=self.config.router.risk,
            costs=self._predicted_costs(candidates, self.router.costs_of(ranking)),
            tail_erased=ranking is not readings[0],
            switch=self._switch(session, candidates, is_counted=decision.router is not self.router),
        )

    def scores(self, ranking: Ranking) -> dict[str, float]:
        """Return the scores that clients see: shrunk, or by the risk, or as published (coefficients; their sigmoid if
        grounded)."""
        is_own = self.router.shrinkage is not None or self.router.risk is not None
        values = self.router.scores(ranking) if is_own else published_scores(self.router.family, ranking)
        return dict(zip(self._shown, values[self.configured].tolist()))

    def _plan_on_stream_budget(
        self,
        readings: Sequence[Ranking],
        stream_budget: StreamBudget,
        able: Mask,
        available: Mask,
        session: SessionCosts | None,
    ) -> RoutingPlan:
        """Choose at the price of the stream budget; no fallback costs more than the choice, to protect the mean."""
        mask = available if available.any() else able
        router = self._in_session(readings, session)
        costs = router.costs_of(readings[0])
        spending = stream_budget.choose(np.stack([self.router.scores(one) for one in readings]), costs, mask)
        ranking = readings[spending.reading]
        candidates = self._candidates(router, ranking, spending.model, float(costs[spending.model]), able, mask)
        return RoutingPlan(
            candidates,
            "stream",
            self.scores(ranking),
            stream_budget=stream_budget,
            spending=spending,
            costs=self._predicted_costs(candidates, self.router.costs_of(ranking)),
            tail_erased=spending.reading > 0,
            risk=self.config.router.risk,
            switch=self._switch(session, candidates),
        )

    def _in_session(self, readings: Sequence[Ranking], session: SessionCosts | None) -> Router:
        """Return the router with the costs of a conversation on top of each model's own."""
        if session is None:
            return self.router
        return self.router.at_costs(self.router.costs_of(readings[0]) + session.added)

    def _at_its_price(self, readings: Sequence[Ranking], router: Router, session: SessionCosts, mask: Mask) -> Decision:
        """Choose by the scores, less what a switch costs at the configured score per cost: no budget prices it."""
        assert session.score_per_cost is not None
        price = session.score_per_cost * session.prefix.enter / session.horizon
        values = (np.where(mask, router.scores(one) - price, -np.inf) for one in readings)
        decisions = [router.only(int(value.argmax()), one, mask) for value, one in zip(values, readings)]
        return min(decisions, key=lambda one: one.expected_cost)

    def _switch(
        self, session: SessionCosts | None, candidates: tuple[str, ...], *, is_counted: bool = True
    ) -> SwitchPrices | None:
        if session is None:
            return None
        at = {name: self.names.index(name) for name in candidates}
        read, enter = ({name: float(each[i]) for name, i in at.items()} for each in session.prefix)
        return SwitchPrices(session.conversation.before, session.conversation.tokens, read, enter, is_counted)

    def _better(self, ranking: Ranking, name: str, able: Mask) -> Mask:
        """Return the able models that score higher than the one of this name; that alone if there is none."""
        scores = self.router.scores(ranking)
        index = self.names.index(name)
        better = able & (scores > scores[index])
        return better if better.any() else able & (np.arange(len(scores)) == index)

    def _predicted_costs(self, candidates: tuple[str, ...], costs: np.ndarray) -> PredictedCosts:
        predicted = [name for name in candidates if name in self.unscored]
        return {name: self._predicted_cost(name, float(costs[self.names.index(name)])) for name in predicted}

    def _predicted_cost(self, name: str, cost: float) -> PredictedCost:
        """Return the cost of an answer; 95 % of the answers in the training table stayed below the amount to hold."""
        assert self.facts is not None, "costs are predicted"
        return PredictedCost(cost, cost * self.facts.bound[name])

    def _candidates(
        self, router: Router, ranking: Ranking, chosen: int, ceiling: float | None, able: Mask, mask: Mask
    ) -> tuple[str, ...]:
        """Return the chosen model, then those up to the ceiling by score; models outside ``mask`` last."""
        order = router.ranked(ranking, ceiling, able)
        order = order[order != chosen]
        within = mask[order]
        return tuple(self.names[index] for index in (chosen, *order[within].tolist(), *order[~within].tolist()))

    def _able(self, eligibility: Eligibility) -> Mask:
        """Return which models are permitted and capable; the optimiser checks the budget."""
        key, required = eligibility.key, eligibility.required
        able = self._capable(key, required.capabilities) & (required.num_tokens <= self._lengths)
        if not able.any():
            raise no_able_model(self._missing(key, required))
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
        self,
        readings: Sequence[Ranking],
        request: ChatRequest,
        able: Mask,
        available: Mask,
        rng: np.random.Generator,
        session: SessionCosts | None,
    ) -> tuple[Decision, Mask]:
        """Return the decision, and the models among which it was made.

        A budget that pays for no model with the costs of its conversation is compared with the models' own costs, then
        also with those of models in cooldown.
        """
        budget, routers = request.budget_per_choice, [self.router]
        if session is not None and session.is_priced(budget):
            routers = [self._in_session(readings, session), self.router]
            if budget is None:
                mask = available if available.any() else able
                return self._at_its_price(readings, routers[0], session, mask), mask
        if available.any():
            for router in routers:
                with suppress(InfeasibleBudget):
                    return cheapest_decision(router, readings, budget, rng, available), available
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
