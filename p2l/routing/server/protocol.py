"""uvicorn's HTTP protocol with a bound on headers, which httptools would collect without end."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from p2l.routing.server.app import MAX_HEADER_BYTES
from p2l.routing.server.errors import ApiError

_BODY = ApiError(431, "the headers are too large", "headers_too_large").body()
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers do not come to an end."""

    _in_headers = True
    _completed = False
    _unfinished = 0

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = self._completed = True
        self._unfinished = 0

    def data_received(self, data: bytes) -> None:
        self._completed = False
        super().data_received(data)
        if not self._in_headers or self._completed:  # data that ends a message may begin another, but not much of it
            return
        self._unfinished += len(data)
        if self._unfinished > 2 * MAX_HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()
