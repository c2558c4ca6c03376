"""Bodies in, JSON and event streams out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2l.serving.http.api_error import ApiError, ClientLeftError
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.router.api.chat_request import parse, too_large
from p2l.serving.router.api.openai_error import openai_error

BODY_SECONDS = 60.0
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The object in the body; ``ApiError`` 413 over ``limit`` bytes, 408 for one that dawdles, 400 for another form."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large(limit)
    try:
        return parse(await asyncio.wait_for(_read(request, limit), BODY_SECONDS))
    except asyncio.TimeoutError:
        raise ApiError(408, f"the body did not arrive within {BODY_SECONDS:g} seconds", "timeout") from None


async def _read(request: Request, limit: int) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def json_response(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(payload), status, dict(headers or {}), "application/json")


def error_response(error: ApiError) -> Response:
    return Response(openai_error(error), error.status, error.headers, "application/json")


def header_text(value: object) -> str:
    """Text that a header can hold: what is not printable ASCII is percent-encoded."""
    return quote(str(value), safe=_PRINTABLE.replace("%", ""))


class EventStream(Response):
    """Server-sent events. A disconnect ends the stream at once; ``finish`` runs at the end in every case."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes, None], finish: Callable[[], Awaitable[None]], headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, 200, {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(ClientLeftError):
                await run_until_disconnect(receive, self._send(send))
        finally:
            await self._frames.aclose()
            await self._finish()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for frame in self._frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
