"""The endpoint on a Ray cluster: replicas of the same predictor behind the same interface.

    serve run p2l.serving.endpoint.ray_serve:build model_path=<checkpoint> replicas=4 gpus=1

Takes every option of ``python -m p2l.endpoint`` by its name. Set keys through P2L_API_KEYS.
"""

import logging
import os
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.endpoint.build_endpoint import choose_device, load_predictor, make_app, make_service
from p2l.serving.endpoint.endpoint_options import read_options
from p2l.serving.endpoint.endpoint_settings import Settings

log = logging.getLogger(__name__)


class Endpoint:
    """One replica: ready when its model is loaded. It passes the requests from Ray to the endpoint's app."""

    def __init__(self, settings: str) -> None:
        known = Settings.from_json(settings)
        device = choose_device(known.cuda)
        self._service = make_service(known, device)
        self._app = make_app(known, self._service)
        self._service.start(load_predictor(known, device))

    async def __call__(self, request: Request) -> Response:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        # Ray's route prefix is not part of ours
        scope = {**request.scope, "root_path": ""}
        await self._app(scope, request.receive, send)
        start, *parts = messages
        response = Response(b"".join(part.get("body", b"") for part in parts), start["status"])
        response.raw_headers = list(start["headers"])
        return response

    def check_health(self) -> None:
        """Raise NotReadyError if the model is not loaded; Ray then replaces the replica."""
        _ = self._service.batcher


def build(options: dict[str, str | int | float | bool]) -> Application:
    """Return the application for ``serve run``. Takes the server's options, ``replicas``, and ``gpus`` per replica."""
    options = dict(options)
    replicas, gpus = int(options.pop("replicas", 1)), float(options.pop("gpus", 0))
    options.setdefault("cuda", "true" if gpus else "false")
    settings = read_options([_argument(name, value) for name, value in options.items()], os.environ)
    log.info("%d replica(s) of %s", replicas, settings.model_path)
    deployment = serve.deployment(
        Endpoint,
        num_replicas=replicas,
        ray_actor_options={"num_gpus": gpus},
        max_ongoing_requests=settings.max_queue,  # further requests wait in Ray's queue
        graceful_shutdown_timeout_s=settings.timeout,
    )
    return deployment.bind(settings.to_json())


def _argument(name: str, value: str | int | float | bool) -> str:
    option, text = name.replace("_", "-"), str(value).lower()
    if text in ("true", "false"):
        return f"--{option}" if text == "true" else f"--no-{option}"
    return f"--{option}={value}"
