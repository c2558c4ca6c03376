"""Build the parts of a running router, and hold them."""

import sqlite3
from pathlib import Path

import numpy as np
from starlette.requests import Request

from p2l.errors import ConfigError
from p2l.serving.http.api_error import ApiError
from p2l.serving.http.api_keys import client_key, unknown_key
from p2l.serving.http.guess_limiter import GuessLimiter, TooManyGuessesError
from p2l.serving.router.accounts.ledger import Ledger
from p2l.serving.router.config.hot_reload import ConfigReloader
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.config_warnings import log_warnings
from p2l.serving.router.conversation.prompt_caches import PromptCaches
from p2l.serving.router.router_metrics import RouterMetrics
from p2l.serving.router.selection.model_selector import ModelSelector, SelectionState
from p2l.serving.router.selection.prompt_scorer import PromptScorer, make_scorer
from p2l.serving.router.selection.readiness import ReadinessProbe
from p2l.serving.router.selection.score_cache import ScoreCache
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.selection.stream_budgets import StreamBudgets
from p2l.serving.router.storage.feedback_store import FeedbackStore
from p2l.serving.router.storage.locked_files import DeferredWrites
from p2l.serving.router.storage.open_database import make_database
from p2l.serving.router.storage.shared_state import open_shared_state
from p2l.serving.router.storage.thought_store import ThoughtStore
from p2l.serving.router.tracing import Tracer
from p2l.serving.router.upstream.circuit_breaker import CircuitBreaker
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.fallback_client import FallbackClient
from p2l.serving.router.upstream.model_client import ModelClient


class RouterContainer:
    """The parts of one router process. Call ``start`` inside the event loop, and ``close`` at the end."""

    upstream_client: UpstreamClient
    fallback_client: FallbackClient
    scorer: PromptScorer
    selector: ModelSelector
    readiness: ReadinessProbe
    reloader: ConfigReloader

    def __init__(self, options: RouterOptions, snapshot: Snapshot) -> None:
        self.options = options
        self.snapshot = snapshot
        self.guesses = GuessLimiter()
        self.metrics = RouterMetrics()
        self.tracer = Tracer()
        self.circuit_breaker = CircuitBreaker()
        self.state: sqlite3.Connection = open_shared_state(options.state)
        self.state_writes = DeferredWrites("state")
        self.ledger = Ledger(self.state, writes=self.state_writes)
        self.sessions = SessionStore(self.state, writes=self.state_writes)
        self.caches = PromptCaches(self.state, writes=self.state_writes)
        self.responses = SessionStore(self.state, table="responses", writes=self.state_writes)
        self.thoughts = ThoughtStore(self.state, writes=self.state_writes)
        self.stream_budgets = StreamBudgets(options.state)
        self.stream_budgets.get(snapshot.config)  # opened here: its file may be locked, which later would stop the loop
        self.feedback: FeedbackStore | None = None
        if options.feedback is not None:
            self.feedback = FeedbackStore(make_database(options.feedback), options.store_prompts)

    def authenticate(self, snapshot: Snapshot, request: Request) -> KeyConfig:
        """Return the client's key; ApiError 401 without a known key, 429 after too many wrong ones."""
        address = request.client.host if request.client is not None else ""
        try:
            key = self.guesses.owner(snapshot.keys, client_key(request.headers), address)
        except TooManyGuessesError as error:
            headers = {"retry-after": str(error.retry_after)}
            raise ApiError(429, str(error), "too_many_wrong_keys", headers=headers) from None
        if key is None:
            raise unknown_key()
        return key

    async def start(self) -> None:
        options, seed = self.options, self.snapshot.config.router.seed
        if self.feedback is not None:
            await self.feedback.start()
        self.upstream_client = UpstreamClient()
        self.fallback_client = FallbackClient(ModelClient(self.upstream_client), self.circuit_breaker, self.tracer)
        self.scorer = make_scorer(
            options.router_type,
            self.upstream_client,
            url=options.router_model_endpoint,
            key=options.router_api_key,
            path=options.router_model_path,
            backend=options.router_model_backend,
            seed=seed,
            cache=ScoreCache(options.score_cache << 20, options.score_cache_seconds, self.metrics.count_scored),
        )
        state = SelectionState(self.sessions, self.caches, self.responses, self.circuit_breaker, self.stream_budgets)
        rng = np.random.default_rng(seed)
        self.selector = ModelSelector(
            self.scorer, options.cost_optimizer, state, self.tracer, rng, options.ignore_model
        )
        self.readiness = ReadinessProbe(self.selector)
        self.reloader = ConfigReloader(
            self._load, self._switch, self._config_files, options.watch, self.metrics.reloads
        )
        self.reloader.start()

    async def close(self) -> None:
        await self.reloader.stop()
        await self.scorer.close()
        await self.upstream_client.close()
        await self.state_writes.close()
        self.state.close()
        await self.stream_budgets.close()
        if self.feedback is not None:
            await self.feedback.close()

    def _load(self) -> Snapshot:
        """Load the configuration, in a thread: a file of its stream budget may be locked."""
        snapshot = Snapshot.load(self.options)
        self.stream_budgets.get(snapshot.config)  # raises DataError if its file cannot be opened
        return snapshot

    async def _switch(self, snapshot: Snapshot) -> None:
        """Use a configuration for new requests; ConfigError if it must not replace the present one."""
        if snapshot.is_open and not self.snapshot.is_open:
            raise ConfigError(
                "without keys, anybody could use this router by the published default key; give keys, or restart "
                "with --api-key"
            )
        await self.selector.check(snapshot.config)
        self.snapshot = snapshot
        log_warnings(snapshot.config)

    def _config_files(self) -> list[str | Path]:
        shrinkage = self.snapshot.config.router.shrinkage
        return [self.options.config] if shrinkage is None else [self.options.config, shrinkage]
