"""How both servers configure uvicorn."""

import uvicorn
from starlette.types import ASGIApp

from p2l.serving.http.api_error import ErrorRenderer
from p2l.serving.http.bounded_protocol import BoundedProtocol
from p2l.serving.http.request_limits import RequestLimits

KEEP_ALIVE_SECONDS = 75  # over the 60 of common load balancers, so that they close an idle connection first


def uvicorn_config(
    app: ASGIApp, limits: RequestLimits, render_error: ErrorRenderer, *, shutdown_seconds: int | None = None
) -> uvicorn.Config:
    """Return the configuration of one server process.

    Args:
        app: the application, with its RequestGuard.
        limits: of headers.
        render_error: renders the body of an error response.
        shutdown_seconds: how long a stopping server waits for the responses under way; None: until they end.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol.with_limits(limits, render_error),
        log_config=None,
        access_log=False,  # the guard logs
        server_header=False,
        proxy_headers=False,  # no part of the servers reads the client's address
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
    )
