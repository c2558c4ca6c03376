"""The outermost ASGI middleware of both servers: limits, the answer to a fault, counts and the access log."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2l.serving.http.api_error import ApiError, ClientLeftError
from p2l.serving.http.json_logs import log_event
from p2l.serving.http.request_id import HEADER as REQUEST_ID
from p2l.serving.http.request_id import request_id_of
from p2l.serving.http.request_limits import LINGER_SECONDS, LINGER_SILENCE, RequestLimits, is_nested_deeper

CLIENT_LEFT = 499  # nginx's status for a client that leaves before the response

Observer = Callable[[str | None, int, float], None]
"""Counts a response: route (None if no route matched), status, seconds."""


class RequestGuard:
    """Enforces the limits of a request, and counts and logs every response by route and status.

    Answers 431, 413, 408 or 400 if a limit is exceeded. Answers 500 without its cause if the app fails; the cause goes
    to the log. A client that leaves before the response counts as 499.

    Args:
        app: answers the requests within the limits. It gets the whole body in one message, when it asks for it.
        limits: of headers, body and nesting; the protocol enforces the time of the headers.
        render_error: renders the body of an error response to a request of a path.
        observe: counts a response.
        log: logs unexpected errors; its child ``access`` logs responses.
        log_success: whether the access log holds responses with a status below 400, too. The router logs its answers
            itself, with their model and cost.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: RequestLimits,
        render_error: Callable[[ApiError, str], bytes],
        observe: Observer,
        log: logging.Logger,
        *,
        log_success: bool = True,
    ) -> None:
        self._app, self._limits, self._render_error = app, limits, render_error
        self._observe, self._log, self._access_log = observe, log, log.getChild("access")
        self._log_success = log_success

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, exchange = time.perf_counter(), _Exchange(scope, receive, send, self._limits)
        try:
            await self._answer(scope, exchange)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", None)
            self._observe(route, exchange.status, seconds)
            if self._log_success or exchange.status >= 400:
                fields = {"method": scope["method"], "route": route or "other", "status": exchange.status}
                fields |= {"ms": round(seconds * 1e3, 2), **exchange.log_fields}
                log_event(self._access_log, "request", fields)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            exchange.check_headers()
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.failure is None and not isinstance(error, ClientLeftError):
                self._log.exception("unexpected error")
                exchange.failure = ApiError(500, "internal error; the server's log says more", "internal_error")
        if isinstance(exchange.failure, ApiError) and not exchange.started:
            await exchange.send_error(exchange.failure, self._render_error(exchange.failure, scope["path"]))


class _Exchange:
    """One request and its response. A failure to read the request replaces whatever the app answers to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: RequestLimits) -> None:
        self._scope, self._receive, self._send, self._limits = scope, receive, send, limits
        self._is_read = self._is_whole = False
        self._request_id = request_id_of(scope["headers"])
        self.started = False
        self.status = CLIENT_LEFT
        self.failure: ApiError | ClientLeftError | None = None
        self._closes = False

    @property
    def log_fields(self) -> dict[str, object]:
        """The id of the request, the code of an error, and what the app adds to the scope as ``log_fields``."""
        code = {"code": self.failure.code} if isinstance(self.failure, ApiError) else {}
        ids = {} if self._request_id is None else {"request_id": self._request_id}
        return {**ids, **code, **self._scope.get("log_fields", {})}

    def check_headers(self) -> None:
        """Raise ApiError 431 if path, query and headers are too large."""
        size = len(self._scope.get("raw_path") or b"") + len(self._scope.get("query_string", b""))
        size += sum(len(name) + len(value) for name, value in self._scope["headers"])
        if size > self._limits.header_bytes:
            message = f"the headers have more than {self._limits.header_bytes} bytes"
            self.failure = ApiError(431, message, "headers_too_large")
            raise self.failure

    async def receive(self) -> Message:
        if self._is_read:
            return await self._receive()
        self._is_read = True
        try:
            body = await self._read_body()
        except (ApiError, ClientLeftError) as failure:
            self.failure = failure
            raise
        self._is_whole = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if self.failure is None or self.started:
            await self._pass_on(message)

    async def send_error(self, error: ApiError, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if error.status == 408:  # the rest of the body may never come
            headers.append((b"connection", b"close"))
        await self._pass_on({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._pass_on({"type": "http.response.body", "body": body})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message = self._with_request_id(message)
            if not self._is_whole:
                headers = (*self._scope["headers"], *message.get("headers", ()))
                is_old = self._scope.get("http_version") == "1.0"
                self._closes = is_old or any(_says_close(*header) for header in headers)
        elif self._closes and not self._is_whole and not message.get("more_body") and self._has_body():
            await self._send({**message, "more_body": True})
            await self._discard_body()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _with_request_id(self, message: Message) -> Message:
        if self._request_id is None:
            return message
        others = [header for header in message.get("headers", ()) if header[0] != REQUEST_ID]
        return {**message, "headers": [*others, (REQUEST_ID, self._request_id.encode())]}

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self._scope["headers"]
        )

    async def _discard_body(self) -> None:
        """Read what the client still sends: a close with unread bytes would be a reset, which destroys the response."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._read_to_end(), LINGER_SECONDS)

    async def _read_to_end(self) -> None:
        more = True
        while more:
            message = await asyncio.wait_for(self._receive(), LINGER_SILENCE)
            more = message["type"] == "http.request" and message.get("more_body", False)

    async def _read_body(self) -> bytes:
        """Read the whole body; ApiError 413, 408 or 400 if it exceeds a limit, ClientLeftError if it breaks off."""
        limits = self._limits
        declared = next((value for name, value in self._scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > limits.body_bytes:
            raise _too_large(limits)
        with _Deadline(limits.body_seconds):
            body = await self._join_parts()
            if is_nested_deeper(body, limits.nesting):
                raise ApiError(400, f"the body is nested more than {limits.nesting} levels deep", "invalid_request")
            return body
        raise ApiError(408, f"the body did not arrive within {limits.body_seconds:g} seconds", "timeout")

    async def _join_parts(self) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._limits.body_bytes:
                raise _too_large(self._limits)
        return b"".join(parts)


class _Deadline:
    """Leave the block if it has not ended after some seconds: ``anyio.move_on_after`` in a fifth of its time."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._expired = seconds, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if not self._expired or kind is not asyncio.CancelledError:
            return False
        if sys.version_info >= (3, 11) and self._task.uncancel() > 0:
            return False  # somebody else cancelled the task, too
        return True

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


def _says_close(name: bytes, value: bytes) -> bool:
    return name == b"connection" and b"close" in value.lower()


def _too_large(limits: RequestLimits) -> ApiError:
    return ApiError(413, f"the body is larger than {limits.body_bytes} bytes", "body_too_large")
