"""The router's ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from p2l.serving.http.api_error import ApiError, ClientLeftError
from p2l.serving.http.request_guard import CLIENT_LEFT, RequestGuard
from p2l.serving.http.request_limits import RequestLimits
from p2l.serving.http.request_response import json_response
from p2l.serving.router.api import (
    chat_completions,
    completions,
    count_tokens,
    embeddings_api,
    feedback,
    messages,
    models,
    monitoring,
    responses,
    route_preview,
    stored_responses,
)
from p2l.serving.router.api.anthropic_error import anthropic_error
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.api.openapi import document
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_logs import log

_MESSAGES = "/v1/messages"


def make_app(container: RouterContainer, limits: RequestLimits | None = None) -> Starlette:
    """Return the router's application; by default a body may have ``max_body`` bytes of the options."""
    limits = limits or RequestLimits(body_bytes=container.options.max_body)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await container.start()
        try:
            yield
        finally:
            await container.close()

    app = Starlette(
        routes=_routes(),
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _client_left,
            ClientLeftError: _client_left,
        },
        lifespan=lifespan,
    )
    app.state.container = container
    app.add_middleware(
        RequestGuard,
        limits=limits,
        render_error=_render_error,
        observe=container.metrics.count_response,
        log=log,
        log_success=False,  # completion_report logs each answer
    )
    return app


def _routes() -> list[Route]:
    return [
        Route("/v1/chat/completions", chat_completions.create_chat_completion, methods=["POST"]),
        Route("/v1/completions", completions.create_completion, methods=["POST"]),
        Route(_MESSAGES, messages.create_message, methods=["POST"]),
        Route(f"{_MESSAGES}/count_tokens", count_tokens.count_tokens, methods=["POST"]),
        Route("/v1/route", route_preview.preview_route, methods=["POST"]),
        Route("/v1/models", models.list_models, methods=["GET"]),
        Route("/v1/models/{name:path}", models.retrieve_model, methods=["GET"]),
        Route("/v1/embeddings", embeddings_api.create_embeddings, methods=["POST"]),
        Route("/v1/responses", responses.create_response, methods=["POST"]),
        Route("/v1/responses/{id}", stored_responses.stored_response, methods=["GET", "DELETE"]),
        Route("/v1/responses/{id}/{part}", stored_responses.stored_response, methods=["GET"]),
        Route("/v1/feedback", feedback.create_vote, methods=["POST"]),
        Route("/health", monitoring.health, methods=["GET"]),
        Route("/ready", monitoring.ready, methods=["GET"]),
        Route("/metrics", monitoring.metrics, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]


async def _openapi(request: Request) -> Response:
    return json_response(document())


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    request.scope["log_fields"] = _refusal(request, error)
    return Response(_render_error(error, request.url.path), error.status, error.headers, "application/json")


def _render_error(error: ApiError, path: str) -> bytes:
    """Render an error in the form of the API that has the path."""
    is_anthropic = path == _MESSAGES or path.startswith(f"{_MESSAGES}/")
    return anthropic_error(error) if is_anthropic else openai_error(error)


def _refusal(request: Request, error: ApiError) -> dict[str, object]:
    """Return what the access log says of a refused request: the code, and who sent an unknown key."""
    sender = request.client.host if request.client is not None else None
    is_unknown = error.code in ("missing_api_key", "invalid_api_key", "too_many_wrong_keys")
    return {"code": error.code, **({"client": sender} if is_unknown else {})}


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _api_error(request, ApiError(error.status_code, error.detail, headers=error.headers))


async def _client_left(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # the connection is closed: nobody reads it
