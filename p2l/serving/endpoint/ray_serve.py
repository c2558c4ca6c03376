"""The endpoint on a Ray cluster: replicas of the same predictor behind the same interface.

    serve run p2l.serving.endpoint.ray_serve:build model_path=<checkpoint> replicas=4 gpus=1

Every option of ``python -m p2l.endpoint`` may be given by its name; keys are best left to P2L_API_KEYS.
"""

import logging
import os
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.endpoint.assembly import choose_device, load_predictor, make_app, make_service
from p2l.serving.endpoint.endpoint_options import read_options
from p2l.serving.endpoint.endpoint_settings import Settings

log = logging.getLogger(__name__)


class Endpoint:
    """One replica: ready when its model is; a request that Ray sends it goes through the app of the other servers."""

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

        # Ray's routes stand before ours
        scope = {**request.scope, "root_path": ""}
        await self._app(scope, request.receive, send)
        start, *parts = messages
        response = Response(b"".join(part.get("body", b"") for part in parts), start["status"])
        response.raw_headers = list(start["headers"])
        return response

    def check_health(self) -> None:
        """Ray asks; an exception would mean that the replica is to be replaced."""
        _ = self._service.batcher


def build(options: dict[str, str | int | float | bool]) -> Application:
    """The application of ``serve run``; beside the server's options, ``replicas`` and ``gpus`` of each."""
    options = dict(options)
    replicas, gpus = int(options.pop("replicas", 1)), float(options.pop("gpus", 0))
    options.setdefault("cuda", "true" if gpus else "false")
    settings = read_options([_argument(name, value) for name, value in options.items()], os.environ)
    log.info("%d replica(s) of %s", replicas, settings.model_path)
    deployment = serve.deployment(
        Endpoint,
        num_replicas=replicas,
        ray_actor_options={"num_gpus": gpus},
        max_ongoing_requests=settings.max_queue,  # what is over it waits in Ray's queue
        graceful_shutdown_timeout_s=settings.timeout,
    )
    return deployment.bind(settings.to_json())


def _argument(name: str, value: str | int | float | bool) -> str:
    option, said = name.replace("_", "-"), str(value).lower()
    if said in ("true", "false"):
        return f"--{option}" if said == "true" else f"--no-{option}"
    return f"--{option}={value}"
