"""``/health``, ``/ready`` and ``/metrics``, without a key."""

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.prometheus import CONTENT_TYPE
from p2l.serving.http.request_response import json_response
from p2l.serving.router.container import RouterContainer


async def health(request: Request) -> Response:
    """Answer while the process is alive."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """Answer 200 if prompts can be scored or there is a default model, else 503."""
    container: RouterContainer = request.app.state.container
    config = container.snapshot.config
    error = await container.readiness.failure(config)
    if error is not None:
        status = 200 if config.router.default_model is not None else 503
        return json_response({"status": "no scores", "reason": error.reason}, status)
    return json_response({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    container: RouterContainer = request.app.state.container
    return Response(container.metrics.exposition(), media_type=CONTENT_TYPE)
