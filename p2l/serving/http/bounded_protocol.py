"""uvicorn's HTTP protocol with limits of size and time for headers; uvicorn with httptools has neither."""

import asyncio
import logging
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from p2l.serving.http.api_error import ApiError, ErrorRenderer
from p2l.serving.http.json_logs import log_event
from p2l.serving.http.request_limits import LINGER_SILENCE, RequestLimits

log = logging.getLogger(__name__)

LINGER_BYTES = 4 << 20  # most bytes that are discarded after a refusal; the headers of a client are shorter


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers or trailers are too large, or whose headers take too long.

    httptools collects headers without a limit; uvicorn limits the time of a connection only between two requests.
    A connection that sends nothing at all is closed after uvicorn's keep-alive timeout, also before its first request.
    Trailers, the fields after a chunked body, are dropped: no part of the servers reads them.

    A refusal is logged, and reaches a client that still sends: a close with unread bytes would be a reset, which
    destroys the response. So what comes after it is read and discarded, within limits.

    Attributes:
        limits: of the headers; set by ``with_limits``.
        render_error: renders the body of an error response; set by ``with_limits``.
    """

    limits: ClassVar[RequestLimits] = RequestLimits()
    render_error: ClassVar["staticmethod[[ApiError], bytes]"]

    _in_headers = True
    _begun = False  # the first byte of the next request has come
    _unfinished = 0  # bytes since the parser completed something; it may hold a copy of them
    _headers_timer: asyncio.TimerHandle | None = None
    _close_timer: asyncio.TimerHandle | None = None  # runs after a refusal
    _discarded = 0  # bytes since the refusal

    @classmethod
    def with_limits(cls, limits: RequestLimits, render_error: ErrorRenderer) -> "type[BoundedProtocol]":
        """Return the class that ``uvicorn.Config`` takes as ``http``; uvicorn makes an instance for each connection."""
        return type(cls.__name__, (cls,), {"limits": limits, "render_error": staticmethod(render_error)})

    def connection_made(self, transport: Any) -> None:  # of asyncio or uvloop, which share no base class
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_headers_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._unfinished = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_headers, self._begun, self._unfinished = True, False, 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._close_timer is not None:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abort()
            return
        self._unfinished += len(data)
        super().data_received(data)  # the data may end one request and begin the next
        if self.transport.is_closing() or self._close_timer is not None:
            return
        if self._unfinished > 2 * self.limits.header_bytes:
            self._close(ApiError(431, "the headers are too large", "headers_too_large"))
        elif not self._in_headers:
            self._stop_headers_timer()
        elif self._begun:
            self._start_headers_timer()
        else:
            self._stop_headers_timer()
            self._await_request()

    def _await_request(self) -> None:
        """Start uvicorn's keep-alive timer if the connection is idle and has none."""
        if self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_headers_timer(self) -> None:
        if self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self.limits.header_seconds, self._refuse_late_headers)

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _refuse_late_headers(self) -> None:
        self._headers_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_headers_timer()  # the server itself is not done with the request before
        elif not self.transport.is_closing():
            message = f"the headers did not arrive within {self.limits.header_seconds:g} seconds"
            self._close(ApiError(408, message, "timeout"))

    def send_400_response(self, msg: str) -> None:
        self._close(ApiError(400, "the request is not valid HTTP", "invalid_http"))

    def _close(self, error: ApiError) -> None:
        """Close the connection; answer first if the client waits for the response to this request."""
        log_event(log, "request", {"status": error.status, "code": error.code, "client": (self.client or ("",))[0]})
        if not self._may_answer():
            self.transport.close()
            return
        if self.cycle is not None:  # its app must not answer, too
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = self.render_error(error)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[error.status] + head + body)
        self._linger()

    def _may_answer(self) -> bool:
        """Return whether no other response is under way, or owed to an earlier request."""
        if self.cycle is None or self.cycle.response_complete:
            return self._in_headers
        return not self._in_headers and not self.cycle.response_started and not self.pipeline

    def _linger(self) -> None:
        """End the response; close the connection when the client does, or soon."""
        self._stop_headers_timer()
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._close_timer = self.loop.call_later(LINGER_SILENCE, self.transport.close)
