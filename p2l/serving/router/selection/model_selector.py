"""Select the models for a request: by name, by stored response, by session, by score, or by default."""

import logging
from dataclasses import dataclass

import numpy as np

from p2l.errors import ConfigError
from p2l.routing.scores import Optimizer
from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.server_config import KeyConfig, ServerConfig
from p2l.serving.router.router_logs import event
from p2l.serving.router.selection.eligibility import Eligibility
from p2l.serving.router.selection.prompt_scorer import PromptScorer, scoring_failed
from p2l.serving.router.selection.ranked_models import RankedModels
from p2l.serving.router.selection.routing_plan import RoutingPlan
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.selection.stream_budgets import StreamBudgets
from p2l.serving.router.tracing import Tracer, set_attributes
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream_error import UpstreamError
from p2l.types import Ranking


@dataclass(frozen=True, eq=False)
class SelectionState:
    """What selection remembers between requests.

    Attributes:
        sessions: model of each conversation.
        responses: model that made each stored response.
        circuit_breaker: models in cooldown.
        stream_budgets: spending over all requests.
    """

    sessions: SessionStore
    responses: SessionStore
    circuit_breaker: CircuitBreaker
    stream_budgets: StreamBudgets


class ModelSelector:
    """Selects models for requests.

    Args:
        scorer: ranks prompts.
        optimizer: how a budget is met.
        state: what earlier requests left.
        tracer: gets the spans ``score`` and ``choose``.
        rng: draws from the optimiser's mixtures.
        ignore_model_field: whether a configured name in ``model`` is routed like any other.
    """

    def __init__(
        self,
        scorer: PromptScorer,
        optimizer: Optimizer,
        state: SelectionState,
        tracer: Tracer,
        rng: np.random.Generator,
        ignore_model_field: bool,
    ) -> None:
        self._scorer, self._optimizer, self._state = scorer, optimizer, state
        self._tracer, self._rng, self._ignore_model_field = tracer, rng, ignore_model_field
        self._ranked: RankedModels | None = None

    async def select(
        self, config: ServerConfig, request: ChatRequest, key: KeyConfig, *, use_session: bool = True
    ) -> RoutingPlan:
        """Return the models to call; ApiError if no model may or can answer."""
        eligibility = Eligibility.of(config, request, key)
        named = self._named_model(config, request)
        if request.previous_response is not None:
            return _single_model(eligibility, self._model_of_response(key, request.previous_response, named), "pinned")
        if named is not None:
            return _single_model(eligibility, named, "direct")
        if use_session and (kept := self._session_model(eligibility)) is not None:
            return RoutingPlan((kept,), "session")
        if not any(message["role"] == "user" for message in request.messages):
            raise invalid("messages must hold a message of the user: models are chosen by it", "messages")
        try:
            ranked, ranking = await self._score(config, request)
        except UpstreamError as error:
            return _default_model(eligibility, error)
        return self._choose(ranked, ranking, eligibility)

    async def ranked_models(self, config: ServerConfig) -> RankedModels:
        """Return the ranked models of a configuration, rebuilt if it or the P2L model changed.

        Raises UpstreamError if the P2L model is unreachable or does not fit the configuration.
        """
        names = await self._scorer.models() or tuple(config.model_configs)
        if self._ranked is None or self._ranked.config is not config or self._ranked.names != names:
            self._ranked = self._rank_models(config, names)
        return self._ranked

    def _rank_models(self, config: ServerConfig, names: tuple[str, ...]) -> RankedModels:
        try:
            ranked = RankedModels(config, names, self._scorer.family, self._optimizer)
        except ConfigError as error:
            event(str(error), level=logging.ERROR)
            raise UpstreamError("unfit_configuration", "the P2L model is not that of the configuration") from None
        if not ranked.configured.any():
            event("the P2L model has a coefficient for none of the configured models", level=logging.ERROR)
            raise UpstreamError("no_common_model", "no configured model can be ranked", retryable=False)
        if ranked.unranked:
            event("models without a coefficient are reached by direct_model only", {"models": ranked.unranked})
        return ranked

    async def _score(self, config: ServerConfig, request: ChatRequest) -> tuple[RankedModels, Ranking]:
        ranked = await self.ranked_models(config)
        with self._tracer.span("score"):
            return ranked, await self._scorer.score(request.turns or ("",), ranked.names)

    def _choose(self, ranked: RankedModels, ranking: Ranking, eligibility: Eligibility) -> RoutingPlan:
        stream_budget = self._state.stream_budgets.get(eligibility.config)
        is_available = self._state.circuit_breaker.is_available
        with self._tracer.span("choose") as span:
            plan = ranked.plan(ranking, eligibility, is_available, self._rng, stream_budget)
            set_attributes(
                span, {"p2l.model": plan.chosen, "p2l.reason": plan.reason, "p2l.candidates": len(plan.candidates)}
            )
        return plan

    def _named_model(self, config: ServerConfig, request: ChatRequest) -> str | None:
        """Return the model that the client asks for by name, if any."""
        if request.direct_model is not None:
            return request.direct_model
        named = request.body.get("model")
        is_configured = isinstance(named, str) and named in config.model_configs
        return named if is_configured and not self._ignore_model_field else None

    def _model_of_response(self, key: KeyConfig, response: str, named: str | None) -> str:
        """Return the model that made a response; only its provider has it. ApiError 400 if unknown."""
        name = self._state.responses.model(key.name, response)
        if name is None:
            raise invalid(
                "previous_response_id: it is not known which model made it for this key; send the whole input",
                "previous_response_id",
                "previous_response_not_found",
            )
        if named not in (None, name):
            raise invalid(f"previous_response_id is kept by {name}: no other model can continue it", "model")
        return name

    def _session_model(self, eligibility: Eligibility) -> str | None:
        """Return the model of the session if it may answer and is not in cooldown."""
        session = eligibility.request.session
        name = self._state.sessions.model(eligibility.key.name, session) if session else None
        if name is None or not eligibility.includes(name) or not self._state.circuit_breaker.is_available(name):
            return None
        return name


def _single_model(eligibility: Eligibility, name: str, reason: str) -> RoutingPlan:
    eligibility.check(name)
    return RoutingPlan((name,), reason)


def _default_model(eligibility: Eligibility, error: UpstreamError) -> RoutingPlan:
    """Return the configured default model; ApiError if there is none or it may not answer."""
    event("a prompt could not be scored", {"reason": error.reason}, level=logging.WARNING)
    name = eligibility.config.router.default_model
    if name is None or not eligibility.includes(name):
        raise scoring_failed(error)
    return RoutingPlan((name,), "default")
