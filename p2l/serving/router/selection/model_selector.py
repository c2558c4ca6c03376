"""Select the models for a request: by name, by stored response, by session, by score, or by default."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from p2l.errors import ConfigError
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.erased_tail import erase_tail
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.chat_request import ChatRequest
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.near_names import near_names, suggestion
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.conversation.prompt_caches import PromptCaches
from p2l.serving.router.conversation.read_text import read_text
from p2l.serving.router.conversation.session_costs import Conversation
from p2l.serving.router.conversation.tool_loops import in_tool_loop, repeated_errors
from p2l.serving.router.router_logs import event
from p2l.serving.router.selection.eligibility import Eligibility, unknown_model, usable_models
from p2l.serving.router.selection.prompt_scorer import MODEL_CHANGED, PromptScorer, scoring_failed
from p2l.serving.router.selection.ranked_models import RankedModels
from p2l.serving.router.selection.routing_plan import PredictedCosts, RoutingPlan
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.selection.stream_budgets import StreamBudgets
from p2l.serving.router.storage.locked_files import when_unlocked
from p2l.serving.router.tracing import Tracer, set_attributes
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream_error import UpstreamError
from p2l.types import Ranking

_ANY_MODEL = "-"  # what published clients send for "any model"


@dataclass(frozen=True, eq=False)
class SelectionState:
    """What selection remembers between requests.

    Attributes:
        sessions: model of each conversation.
        caches: what the providers' prompt caches hold of it.
        responses: model that made each stored response.
        circuit_breaker: models in cooldown.
        stream_budgets: spending over all requests.
    """

    sessions: SessionStore
    caches: PromptCaches
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
        eligibility = Eligibility.of(config, request, key, await self._unscored_costs(config))
        named = self._named_model(config, request, key)
        if request.previous_response is not None:
            pinned = self._model_of_response(key, request.previous_response, named)
            return _single_model(eligibility, pinned, "pinned", "previous_response_id")
        if named is not None:
            param = "model" if request.direct_model is None else "direct_model"
            return _single_model(eligibility, named, "direct", param)
        kept = self._session_model(eligibility) if use_session else None
        stays, escalates = _session_rule(config, request) if kept is not None else (False, False)
        if kept is not None and stays and not escalates:
            return RoutingPlan((kept,), "session", costs=eligibility.costs)
        if not any(message["role"] == "user" for message in request.messages):
            raise invalid("messages must hold a message of the user: models are chosen by it", "messages")
        read = read_text(config.router.text_from, request.turns)
        try:
            ranked, readings = await self._readings(config, read.turns or ("",))
        except UpstreamError as error:
            return _default_model(eligibility, error)
        above = kept if escalates and kept in ranked.names else None
        plan = await when_unlocked(partial(self._choose, ranked, readings, eligibility, above))
        if above is not None:
            plan = replace(plan, reason="session" if plan.chosen == kept else "escalated")
        return replace(plan, read=read)

    async def ranked_models(self, config: ServerConfig) -> RankedModels:
        """Return the ranked models of a configuration, rebuilt if it or the P2L model changed.

        Raises UpstreamError if the P2L model is unreachable or does not fit the configuration.
        """
        listed = await self._scorer.models()
        names = listed or tuple(config.model_configs)
        scorer = self._scorer
        if self._ranked is None or not self._ranked.fits(config, names, scorer.family, scorer.cost_facts):
            try:
                self._ranked = self._rank_models(config, listed)
            except ConfigError as error:
                event(str(error), level=logging.ERROR)
                raise UpstreamError("unfit_configuration", "the P2L model is not that of the configuration") from None
            _warn_of_unranked(self._ranked)
        return self._ranked

    async def check(self, config: ServerConfig) -> None:
        """Raise ConfigError if a configuration does not fit the P2L model; pass if that cannot be reached."""
        with suppress(UpstreamError):
            self._rank_models(config, await self._scorer.models())

    async def score(self, config: ServerConfig, turns: tuple[str, ...]) -> tuple[RankedModels, Ranking]:
        """Return the ranked models of a configuration, and their ranking on a prompt; UpstreamError if it fails."""
        try:
            return await self._score(config, turns)
        except UpstreamError as error:
            if error.reason != MODEL_CHANGED:
                raise
        return await self._score(config, turns)  # by the new list of models

    async def _readings(self, config: ServerConfig, turns: tuple[str, ...]) -> tuple[RankedModels, list[Ranking]]:
        """Return the ranked models, and their rankings on the prompt and, if configured, on it without its tail."""
        parts = [turns]
        if config.router.erase_tail is not None:
            parts.append(erase_tail(turns, config.router.erase_tail))
        for _ in range(2):
            scored = await asyncio.gather(*(self.score(config, part) for part in parts))
            ranked = scored[0][0]
            if all(one is ranked for one, _ in scored):  # else the list of models changed between the two
                return ranked, [ranking for _, ranking in scored]
        raise UpstreamError(MODEL_CHANGED, "the P2L endpoint serves another model from one prompt to the next")

    async def _unscored_costs(self, config: ServerConfig) -> PredictedCosts:
        """Return the mean costs of models whose cost is predicted; none if the P2L model is not known yet."""
        if config.predicted:
            with suppress(UpstreamError):
                return (await self.ranked_models(config)).unscored
        return {}

    async def _score(self, config: ServerConfig, turns: tuple[str, ...]) -> tuple[RankedModels, Ranking]:
        ranked = await self.ranked_models(config)
        with self._tracer.span("score"):
            return ranked, await self._scorer.score(turns, ranked.names)

    def _rank_models(self, config: ServerConfig, listed: tuple[str, ...]) -> RankedModels:
        """Return the ranked models; ConfigError if the configuration does not fit the models that are listed."""
        for name in config.router.opponents or ():
            if listed and name not in listed:
                hint = suggestion(name, listed)
                raise ConfigError(f"router.opponents.{name}: the P2L model ranks no model of this name{hint}")
        names, scorer = listed or tuple(config.model_configs), self._scorer
        ranked = RankedModels(config, names, scorer.family, self._optimizer, scorer.cost_facts, scorer.posterior)
        if not ranked.configured.any():
            hint = "".join(suggestion(name, listed) for name in list(config.model_configs)[:1])
            raise ConfigError(f"model_configs: the P2L model ranks none of these models{hint}")
        return ranked

    def _choose(
        self, ranked: RankedModels, readings: Sequence[Ranking], eligibility: Eligibility, better_than: str | None
    ) -> RoutingPlan:
        stream_budget = self._state.stream_budgets.get(eligibility.config)
        is_available = self._state.circuit_breaker.is_available
        conversation = self._conversation(eligibility)
        with self._tracer.span("choose") as span:
            plan = ranked.plan(readings, eligibility, is_available, self._rng, stream_budget, conversation, better_than)
            set_attributes(
                span, {"p2l.model": plan.chosen, "p2l.reason": plan.reason, "p2l.candidates": len(plan.candidates)}
            )
        return plan

    def _named_model(self, config: ServerConfig, request: ChatRequest, key: KeyConfig) -> str | None:
        """Return the model that the client asks for by name, if any; ApiError 404 if it must be known and is not."""
        if request.direct_model is not None:
            return request.direct_model
        named = request.body.get("model")
        is_configured = isinstance(named, str) and named in config.model_configs
        if config.router.strict_models and isinstance(named, str) and not is_configured:
            _check_alias(config, named, key)
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
        session, name = eligibility.request.session, None
        if session:
            with suppress(ApiError):  # the state cannot be read: the session may change its model
                name = self._state.sessions.model(eligibility.key.name, session)
        if name is None or not eligibility.includes(name) or not self._state.circuit_breaker.is_available(name):
            return None
        return name

    def _conversation(self, eligibility: Eligibility) -> Conversation | None:
        """Return what is known of the session of a request, if its model may change there."""
        request, config = eligibility.request, eligibility.config
        if not request.session or config.router.sessions.mode == "sticky":
            return None
        return Conversation.of(self._state.caches.find(eligibility.key.name, request.session), request)


def _session_rule(config: ServerConfig, request: ChatRequest) -> tuple[bool, bool]:
    """Return whether a session stays with its model, and whether it makes no progress with it.

    While an error goes on, the model stays: it is given as many attempts as the one before.
    """
    rules = config.router.sessions
    errors = 0 if rules.escalate_after is None else repeated_errors(request.messages)
    if rules.escalate_after is not None and errors >= rules.escalate_after:
        return True, errors % rules.escalate_after == 0
    stays = rules.mode == "sticky" or (
        rules.mode == "sticky_tools" and in_tool_loop(request.messages, config.router.text_from)
    )
    return stays, False


def _warn_of_unranked(ranked: RankedModels) -> None:
    if ranked.unranked:
        event(
            "models that the P2L model does not rank are reached by direct_model only; near names of it are",
            {"models": {name: near_names(name, ranked.names) for name in ranked.unranked}},
            level=logging.WARNING,
        )


def _check_alias(config: ServerConfig, named: str, key: KeyConfig) -> None:
    """Raise ApiError 404 unless the name is one of the router's own; suggest what the key may use."""
    if named not in (*config.router.aliases, _ANY_MODEL):
        raise unknown_model("model", named, [*config.router.aliases, *usable_models(config, key)])


def _single_model(eligibility: Eligibility, name: str, reason: str, param: str) -> RoutingPlan:
    eligibility.check(name, param)
    return RoutingPlan((name,), reason, costs=eligibility.costs)


def _default_model(eligibility: Eligibility, error: UpstreamError) -> RoutingPlan:
    """Return the configured default model; ApiError if there is none or it may not answer."""
    event("a prompt could not be scored", {"reason": error.reason}, level=logging.WARNING)
    name = eligibility.config.router.default_model
    if name is None or not eligibility.includes(name):
        raise scoring_failed(error)
    return RoutingPlan((name,), "default", costs=eligibility.costs)
