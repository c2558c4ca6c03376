"""JSON bodies of requests, JSON and event streams of responses."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2l.serving.http.api_error import ClientLeftError, invalid
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.json_text import dump_json, load_json

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


async def read_json_object(request: Request) -> dict[str, Any]:
    """Read the JSON object in the body; ApiError 400 for anything else. The guard limits its size and time."""
    try:
        body = load_json(await request.body())
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error.msg.split(':')[0]} at byte {error.pos}") from None
    except ValueError:
        raise invalid("the body holds a number with too many digits") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def json_response(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; NumPy arrays become lists."""
    return Response(dump_json(payload), status, dict(headers or {}), "application/json")


def header_text(value: object) -> str:
    """Return text that a header can hold: all but printable ASCII is percent-encoded."""
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
