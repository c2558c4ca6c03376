"""The endpoint's published form of each error: ``{"detail": ...}``."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from p2l.errors import PromptError
from p2l.serving.batching.batching_errors import ForwardError, OverloadedError, TimedOutError
from p2l.serving.endpoint.leaderboard_view import NoCostsError, NoPosteriorError, UnknownModelError
from p2l.serving.endpoint.ranking_service import NotReadyError
from p2l.serving.endpoint.schemas import LeaderboardsRequest
from p2l.serving.http.api_error import ApiError, ClientLeftError
from p2l.serving.http.guess_limiter import TooManyGuessesError
from p2l.serving.http.request_guard import CLIENT_LEFT
from p2l.serving.http.request_response import json_response


def detail_error(error: ApiError) -> bytes:
    """Render ``{"detail": message}``."""
    return orjson.dumps({"detail": error.message})


def _with_status(status: int) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        return json_response({"detail": str(error)}, status)

    return handler


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """Name the first three faults, each with its place; FastAPI's own answer would repeat the input."""
    faults = [f"{'.'.join(map(str, fault['loc']))}: {_reason(fault, request)}" for fault in error.errors()[:3]]
    left = len(error.errors()) - len(faults)
    return json_response({"detail": "; ".join(faults) + (f"; and {left} more" if left else "")}, 422)


def _reason(fault: Mapping[str, Any], request: Request) -> str:
    media_type = request.headers.get("content-type", "")
    if fault["loc"] == ("body",) and fault["type"] != "missing" and "json" not in media_type:
        return f"the header content-type must be application/json; found {media_type[:60]!r}"
    if fault["type"] == "extra_forbidden":
        return f"unknown field; known: {', '.join(LeaderboardsRequest.model_fields)}"
    return str(fault["msg"])


async def _http(request: Request, error: HTTPException) -> Response:
    detail = "the body is not JSON in UTF-8" if error.status_code == 400 else error.detail
    return json_response({"detail": detail}, error.status_code, error.headers)


async def _overloaded(request: Request, error: OverloadedError | TooManyGuessesError) -> Response:
    return json_response({"detail": str(error)}, 429, {"retry-after": str(error.retry_after)})


async def _not_ready(request: Request, error: NotReadyError) -> Response:
    return json_response({"detail": str(error)}, 503, {"retry-after": "5"})


async def _client_left(request: Request, error: ClientLeftError) -> Response:
    return Response(status_code=CLIENT_LEFT)  # the connection is closed: nobody reads it


HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    RequestValidationError: _invalid,
    StarletteHTTPException: _http,
    PromptError: _with_status(422),
    UnknownModelError: _with_status(422),
    NoCostsError: _with_status(422),
    NoPosteriorError: _with_status(422),
    ForwardError: _with_status(500),
    TimedOutError: _with_status(504),
    OverloadedError: _overloaded,
    TooManyGuessesError: _overloaded,
    NotReadyError: _not_ready,
    ClientLeftError: _client_left,
}
