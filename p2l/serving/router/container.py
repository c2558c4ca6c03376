"""All that a running router holds: what lives as long as the process, and the configuration of the moment."""

import logging
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from p2l.errors import ConfigError
from p2l.routing.scores import Optimizer
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.router.accounts.ledger import Ledger
from p2l.serving.router.api.chat_request import ChatRequest
from p2l.serving.router.config.server_config import KeyConfig, ServerConfig, load_config
from p2l.serving.router.router_logs import event
from p2l.serving.router.router_metrics import RouterMetrics
from p2l.serving.router.selection.capabilities import Requirements, requirements_of
from p2l.serving.router.selection.model_selector import ModelSelector, RoutingPlan, infeasible
from p2l.serving.router.selection.prompt_scorer import Scorer, make_scorer, unscored
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.storage.databases import make_database
from p2l.serving.router.storage.feedback_store import FeedbackStore
from p2l.serving.router.storage.shared_state import open_shared_state
from p2l.serving.router.tracing import Tracer, tell
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.fallback_client import FallbackClient
from p2l.serving.router.upstream.providers.litellm import check_installed
from p2l.serving.router.upstream.upstream_errors import UpstreamError

DEFAULT_KEY = "-"


@dataclass(frozen=True)
class RouterOptions:
    """What the command line says."""

    config: Path
    router_type: str = "random"
    router_model_name: str | None = None
    router_model_endpoint: str | None = None
    router_model_path: str | None = None
    router_api_key: str = "-"
    cost_optimizer: Optimizer = "simple-lp"
    api_key: str = DEFAULT_KEY
    state: Path | None = None
    feedback: str | None = field(default=None, repr=False)  # a URL may hold a password
    store_prompts: bool = False
    max_body: int = 32 << 20
    ignore_model: bool = False
    watch: float = 1.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A configuration and what is made of it; a request keeps the one it started with."""

    config: ServerConfig
    keys: ApiKeys[KeyConfig]

    @classmethod
    def load(cls, options: RouterOptions) -> "Snapshot":
        """Read and check the file; ``ConfigError`` if it cannot be served."""
        return cls.of(load_config(options.config), options.api_key, options.cost_optimizer)

    @classmethod
    def of(cls, config: ServerConfig, api_key: str, optimizer: Optimizer) -> "Snapshot":
        if config.shrinkage is not None:
            config.shrinkage.check(optimizer, alike=config.router.opponents is None)
        if any(model.type == "litellm" for model in config.model_configs.values()):
            check_installed()
        # the published default key is no secret: it must not stay valid beside real ones
        default = not config.keys or api_key != DEFAULT_KEY
        if default and any(key.name == "default" for key in config.keys):
            raise ConfigError("keys: the name 'default' is that of --api-key")
        known = (*config.keys, *((KeyConfig("default", api_key),) if default else ()))
        return cls(config, ApiKeys({key.key: key for key in known}))


class RouterContainer:
    """The parts of a router; ``start`` inside the event loop, ``close`` at the end."""

    pool: UpstreamClient
    caller: FallbackClient
    scorer: Scorer

    def __init__(self, options: RouterOptions, snapshot: Snapshot) -> None:
        self.options = options
        self.snapshot = snapshot
        self.metrics = RouterMetrics()
        self.tracer = Tracer()
        self.circuit_breaker = CircuitBreaker()
        self.state: sqlite3.Connection = open_shared_state(options.state)
        self.ledger = Ledger(self.state)
        self.sessions = SessionStore(self.state)
        self.responses = SessionStore(self.state, table="responses")
        self.feedback = (
            FeedbackStore(make_database(options.feedback), options.store_prompts)
            if options.feedback is not None
            else None
        )
        self.rng = np.random.default_rng(snapshot.config.router.seed)
        self._chooser: ModelSelector | None = None
        self._streams: dict[tuple[float, str | Path | None], StreamBudget] = {}

    async def start(self) -> None:
        options = self.options
        if self.feedback is not None:
            await self.feedback.start()
        self.upstream_client = UpstreamClient()
        self.fallback_client = FallbackClient(self.upstream_client, self.circuit_breaker, self.tracer)
        self.scorer = make_scorer(
            options.router_type,
            self.upstream_client,
            url=options.router_model_endpoint,
            key=options.router_api_key,
            path=options.router_model_path,
            seed=self.snapshot.config.router.seed,
        )

    async def close(self) -> None:
        await self.scorer.close()
        await self.upstream_client.close()
        self.state.close()
        for stream in self._streams.values():
            stream.close()
        if self.feedback is not None:
            await self.feedback.close()

    async def chooser(self, config: ServerConfig) -> ModelSelector:
        """The chooser of a configuration, anew where that or the P2L model changed; ``UpstreamError`` until known."""
        names = await self.scorer.models() or tuple(config.model_configs)
        if self._chooser is None or self._chooser.config is not config or self._chooser.names != names:
            try:
                chooser = ModelSelector(config, names, self.scorer.family, self.options.cost_optimizer)
            except ConfigError as error:
                event(str(error), level=logging.ERROR)
                raise UpstreamError("unfit_configuration", "the P2L model is not that of the configuration") from None
            if not chooser.served.any():
                event("the P2L model has a coefficient for none of the configured models", level=logging.ERROR)
                raise UpstreamError("no_common_model", "no configured model can be ranked", retryable=False)
            if chooser.unranked:
                event("models without a coefficient are reached by direct_model only", {"models": chooser.unranked})
            self._chooser = chooser
        return self._chooser

    async def plan(self, config: ServerConfig, ask: ChatRequest, key: KeyConfig, *, sticky: bool = True) -> RoutingPlan:
        """Whom to ask; ``ApiError`` where nobody may or can answer."""
        needs = requirements_of(ask.view, ask.api)
        direct = self._direct(config, ask)
        if ask.previous is not None:
            return self._direct_plan(config, ask, key, needs, self._maker(key, ask.previous, direct), "pinned")
        if direct is not None:
            return self._direct_plan(config, ask, key, needs, direct)
        if sticky and (kept := self._kept(config, ask, key, needs)) is not None:
            return RoutingPlan((kept,), "session")
        if not any(message["role"] == "user" for message in ask.messages):
            raise invalid("messages must hold a message of the user, which the choice rests on", "messages")
        try:
            chooser = await self.chooser(config)
            with self.tracer.span("score"):
                ranking = await self.scorer.score(ask.turns or ("",), chooser.names)
        except UpstreamError as error:
            return self._default(config, ask, key, needs, error)
        stream = self.stream(config)
        with self.tracer.span("choose") as span:
            plan = chooser.choose(ranking, ask, needs, key.models, self.circuit_breaker.is_available, self.rng, stream)
            tell(span, {"p2l.model": plan.chosen, "p2l.reason": plan.reason, "p2l.candidates": len(plan.candidates)})
        return plan

    def stream(self, config: ServerConfig) -> StreamBudget | None:
        """The stream budget of a configuration, which goes on where a reload left its target as it was."""
        target, path = config.router.mean_cost, config.router.mean_cost_state or self.options.state
        if target is None:
            return None
        if (target, path) not in self._streams:
            self._streams[target, path] = StreamBudget(target, path)
        return self._streams[target, path]

    def _direct(self, config: ServerConfig, ask: ChatRequest) -> str | None:
        if ask.direct_model is not None:
            return ask.direct_model
        named = ask.body.get("model")
        ours = not self.options.ignore_model and isinstance(named, str) and named in config.model_configs
        return named if ours else None

    def _maker(self, key: KeyConfig, previous: str, direct: str | None) -> str:
        """The model that made a response, whose provider alone has it."""
        name = self.responses.model(key.name, previous)
        if name is None:
            raise invalid(
                "previous_response_id: it is not known which model made it for this key; send the whole input",
                "previous_response_id",
                "previous_response_not_found",
            )
        if direct not in (None, name):
            raise invalid(f"previous_response_id is kept by {name}: no other model can go on from it", "model")
        return name

    def _direct_plan(
        self,
        config: ServerConfig,
        ask: ChatRequest,
        key: KeyConfig,
        needs: Requirements,
        name: str,
        reason: str = "direct",
    ) -> RoutingPlan:
        model = config.model_configs.get(name)
        if model is None or not key.may_use(name):
            raise ApiError(404, "direct_model is not one of this router's models: GET /v1/models", "model_not_found")
        if lacks := needs.missing(model):
            raise invalid(f"{name} does not support {', '.join(lacks)}", code="unsupported")
        if ask.budget is not None and model.cost > ask.budget:
            raise infeasible(name, model.cost, ask.budget)
        return RoutingPlan((name,), reason)

    def _kept(self, config: ServerConfig, ask: ChatRequest, key: KeyConfig, needs: Requirements) -> str | None:
        """The model of the session, while it can answer and is affordable."""
        name = self.sessions.model(key.name, ask.session) if ask.session else None
        model = config.model_configs.get(name) if name else None
        if name is None or model is None or not key.may_use(name) or needs.missing(model):
            return None
        affordable = ask.budget is None or model.cost <= ask.budget
        return name if affordable and self.circuit_breaker.is_available(name) else None

    def _default(
        self, config: ServerConfig, ask: ChatRequest, key: KeyConfig, needs: Requirements, error: UpstreamError
    ) -> RoutingPlan:
        """The configured model for when nothing can be scored, if it may answer this."""
        event("a prompt could not be scored", {"reason": error.reason}, level=logging.WARNING)
        name = config.router.default_model
        if name is None or not key.may_use(name) or needs.missing(config.model_configs[name]):
            raise unscored(error)
        if ask.budget is not None and config.model_configs[name].cost > ask.budget:
            raise unscored(error)
        return RoutingPlan((name,), "default")
