"""uvicorn's HTTP protocol with a bound on headers and trailers, which httptools would collect without end."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.router_app import MAX_HEADER_BYTES

_BODY = openai_error(ApiError(431, "the headers are too large", "headers_too_large"))
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that sends much without getting on, to the end of its headers or trailers or in its body.

    Trailers, which come after the last chunk of a body and which nobody reads, are dropped.
    """

    _in_headers = True
    _unfinished = 0  # bytes since the parser got on, of which it may keep a copy

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
        self._in_headers, self._unfinished = True, 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._unfinished += len(data)
        super().data_received(data)  # data that ends a message may begin another, but not much of it
        if self._unfinished > 2 * MAX_HEADER_BYTES and not self.transport.is_closing():
            if self._in_headers:  # else the message is being answered
                self.transport.write(_REFUSAL)
            self.transport.close()
