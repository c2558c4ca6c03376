"""Build the parts of a running router, and hold them."""

import sqlite3
from pathlib import Path

import numpy as np

from p2l.serving.router.accounts.ledger import Ledger
from p2l.serving.router.config.hot_reload import ConfigReloader
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.router_metrics import RouterMetrics
from p2l.serving.router.selection.model_selector import ModelSelector, SelectionState
from p2l.serving.router.selection.prompt_scorer import PromptScorer, make_scorer
from p2l.serving.router.selection.sessions import SessionStore
from p2l.serving.router.selection.stream_budgets import StreamBudgets
from p2l.serving.router.storage.feedback_store import FeedbackStore
from p2l.serving.router.storage.open_database import make_database
from p2l.serving.router.storage.shared_state import open_shared_state
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
    reloader: ConfigReloader

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
        self.stream_budgets = StreamBudgets(options.state)
        self.feedback: FeedbackStore | None = None
        if options.feedback is not None:
            self.feedback = FeedbackStore(make_database(options.feedback), options.store_prompts)

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
            seed=seed,
        )
        state = SelectionState(self.sessions, self.responses, self.circuit_breaker, self.stream_budgets)
        rng = np.random.default_rng(seed)
        self.selector = ModelSelector(
            self.scorer, options.cost_optimizer, state, self.tracer, rng, options.ignore_model
        )
        self.reloader = ConfigReloader(
            lambda: Snapshot.load(options), self._switch, self._config_files, options.watch, self.metrics.reloads
        )
        self.reloader.start()

    async def close(self) -> None:
        await self.reloader.stop()
        await self.scorer.close()
        await self.upstream_client.close()
        self.state.close()
        self.stream_budgets.close()
        if self.feedback is not None:
            await self.feedback.close()

    def _switch(self, snapshot: Snapshot) -> None:
        self.stream_budgets.get(snapshot.config)  # raises DataError if its file cannot be opened
        self.snapshot = snapshot

    def _config_files(self) -> list[str | Path]:
        shrinkage = self.snapshot.config.router.shrinkage
        return [self.options.config] if shrinkage is None else [self.options.config, shrinkage]
