"""The endpoint's routes on vLLM's server: entry point of the group ``vllm.endpoint_plugins``."""

import os
from argparse import Namespace
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from p2l.errors import ConfigError
from p2l.serving.batching.batcher import QueueLimits
from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.ranking_service import RankingService
from p2l.serving.http.api_keys import read_keys
from p2l.serving.vllm.engine_ranker import EngineRanker
from p2l.serving.vllm.register_models import ARCHITECTURE
from p2l.serving.vllm.served_checkpoint import read_served_checkpoint

ROUTES = {"/models": "GET", "/predict": "POST", "/v1/leaderboards": "POST"}
WAITING_BATCHES = 2  # queue this many times what the engine runs at once


class EngineService(RankingService[EngineRanker]):
    """The engine of a vLLM server behind the endpoint's app."""

    def start(self, engine: Any) -> None:
        """Read the checkpoint that the engine serves; ConfigError if it serves another model."""
        config, limits = engine.vllm_config, QueueLimits()
        if ARCHITECTURE not in config.model_config.architectures:
            raise ConfigError(f"VLLM_PLUGINS=p2l is for P2L checkpoints; {config.model_config.model} is none")
        prompts = max(limits.prompts, WAITING_BATCHES * config.scheduler_config.max_num_seqs)
        checkpoint = read_served_checkpoint(config)
        self.identity = checkpoint.fingerprint()
        self._batcher = EngineRanker(engine, checkpoint, max_prompts=prompts, seconds=limits.seconds)


class PublishedRoutes:
    """Adds /predict, /models and /v1/leaderboards of ``p2l endpoint`` to vLLM's server.

    Clients send one of the keys of ``vllm serve --api-key``, VLLM_API_KEY or P2L_API_KEYS in the header ``api-key``.
    """

    name = "p2l"
    required_tasks = ("embed",)

    def __init__(self) -> None:
        self._service = EngineService()

    def attach_router(self, app: FastAPI) -> None:
        """Add the routes; vLLM calls it once for its app."""
        keys = read_keys(app.state.args.api_key or [os.environ.get("VLLM_API_KEY", "")], None, os.environ)
        scores = create_app(self._service, keys=keys)
        app.router.routes.extend(Route(path, scores, methods=[method]) for path, method in ROUTES.items())

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Start the service; vLLM calls it once its engine runs."""
        self._service.start(engine_client)
