"""Around every request: the body limit, the count and the log line, and an answer where the app has none."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from p2l.serving.endpoint.endpoint_metrics import Metrics
from p2l.serving.http.api_error import ClientLeftError

log = logging.getLogger("p2l.endpoint.access")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Gate:
    """ASGI middleware: refuses a body over ``max_body`` bytes with 413, counts and logs every answer.

    An exception becomes a 500 that says nothing of its cause, which goes to the log.
    """

    def __init__(self, app: App, metrics: Metrics, max_body: int) -> None:
        self._app, self._metrics, self._max_body = app, metrics, max_body

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 499  # 499: the client left before there was an answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass_on(scope, receive, noting)
        except ClientLeftError:
            pass
        except Exception:
            log.exception("unexpected error")
            if status == 499:
                await _refuse(noting, 500, "internal error; the server's log says more")
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request_done(route, status, seconds)
            extra = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1e3, 2)}
            log.info("request", extra={"fields": extra})

    async def _pass_on(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = await self._read(scope, receive)
        if body is None:
            self._metrics.refused("too large")
            await _refuse(send, 413, f"the body is larger than {self._max_body} bytes", close=True)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
        """The whole body, or None if it is too large."""
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > self._max_body:
            return None
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._max_body:
                return None
        return b"".join(parts)


async def _refuse(send: Send, status: int, detail: str, *, close: bool = False) -> None:
    body = orjson.dumps({"detail": detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
