"""What goes back to a client: answers in JSON, and what each error is told as."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from p2l.errors import PromptError
from p2l.serving.batching.batcher import ForwardError, OverloadedError, TimedOutError
from p2l.serving.endpoint.leaderboard_view import UnknownModelError
from p2l.serving.endpoint.scoring_service import NotReadyError
from p2l.serving.http.api_error import ClientLeftError

CLIENT_LEFT = 499


def in_json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, headers, media_type="application/json")


def _problem(status: int) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        return in_json({"detail": str(error)}, status)

    return handler


async def _say_invalid(request: Request, error: RequestValidationError) -> Response:
    """The first faults, each with its place; not the input itself, as FastAPI has it."""
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3]]
    left = len(error.errors()) - len(faults)
    return in_json({"detail": "; ".join(faults) + (f"; and {left} more" if left else "")}, 422)


async def _say_http(request: Request, error: HTTPException) -> Response:
    detail = "the body is not JSON in UTF-8" if error.status_code == 400 else error.detail
    return in_json({"detail": detail}, error.status_code, dict(error.headers or {}))


async def _say_overloaded(request: Request, error: OverloadedError) -> Response:
    return in_json({"detail": str(error)}, 429, {"retry-after": str(error.retry_after)})


async def _say_not_ready(request: Request, error: NotReadyError) -> Response:
    return in_json({"detail": str(error)}, 503, {"retry-after": "5"})


async def _say_nothing(request: Request, error: ClientLeftError) -> Response:
    return Response(status_code=CLIENT_LEFT)


HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    RequestValidationError: _say_invalid,
    StarletteHTTPException: _say_http,
    PromptError: _problem(422),
    UnknownModelError: _problem(422),
    ForwardError: _problem(500),
    TimedOutError: _problem(504),
    OverloadedError: _say_overloaded,
    NotReadyError: _say_not_ready,
    ClientLeftError: _say_nothing,
}
