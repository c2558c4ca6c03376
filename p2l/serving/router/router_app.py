"""The ASGI application, made of a service by a function."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2l.serving.http.api_error import ApiError, ClientLeftError
from p2l.serving.http.request_response import error_response, json_response
from p2l.serving.router.api import chat_completions, responses, routes
from p2l.serving.router.api.openapi import document
from p2l.serving.router.config.hot_reload import ConfigReloader
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_logs import log

MAX_HEADER_BYTES = 32 << 10


def make_app(container: RouterContainer) -> Starlette:
    """The router's application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await container.start()
        reloader = ConfigReloader(container)
        reloader.start()
        try:
            yield
        finally:
            await reloader.stop()
            await container.close()

    app = Starlette(
        routes=_routes(),
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            ClientLeftError: _gone,
        },
        lifespan=lifespan,
    )
    app.state.container = container
    app.add_middleware(Guard, container=container)
    return app


def _routes() -> list[Route]:
    return [
        Route("/v1/chat/completions", chat_completions.chat, methods=["POST"]),
        Route("/v1/route", chat_completions.route, methods=["POST"]),
        Route("/v1/models", routes.models, methods=["GET"]),
        Route("/v1/models/{name:path}", routes.model, methods=["GET"]),
        Route("/v1/embeddings", routes.embeddings, methods=["POST"]),
        Route("/v1/responses", responses.responses, methods=["POST"]),
        Route("/v1/responses/{id}", responses.kept_response, methods=["GET", "DELETE"]),
        Route("/v1/responses/{id}/{part}", responses.kept_response, methods=["GET"]),
        Route("/v1/feedback", routes.feedback, methods=["POST"]),
        Route("/health", routes.health, methods=["GET"]),
        Route("/ready", routes.ready, methods=["GET"]),
        Route("/metrics", routes.metrics, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]


class Guard:
    """Outermost: refuses oversized headers, answers where the router fails, counts all answers by route and status."""

    def __init__(self, app: ASGIApp, container: RouterContainer) -> None:
        self._app = app
        self._requests = container.metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                route = scope.get("route")
                self._requests.labels(route.path if route is not None else "none", message["status"]).inc()
            await send(message)

        size = len(scope["raw_path"]) + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            error = ApiError(431, f"the headers have more than {MAX_HEADER_BYTES} bytes", "headers_too_large")
            await error_response(error)(scope, receive, counted)
            return
        try:
            await self._app(scope, receive, counted)
        except Exception:
            if started:
                raise  # the server logs it and cuts the connection
            log.exception("a request failed inside the router")
            error = ApiError(500, "the router failed; its logs say where", "internal_error")
            await error_response(error)(scope, receive, counted)


async def _openapi(request: Request) -> Response:
    return json_response(document())


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: Mapping[str, str] = error.headers or {}
    return error_response(ApiError(error.status_code, error.detail, headers=headers))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it
