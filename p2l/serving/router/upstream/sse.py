"""Server-sent events (WHATWG HTML, 9.2.5 and 9.2.6): parse a byte stream, format a chunk."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import NamedTuple

from p2l.serving.http.json_text import dump_json

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 16 << 20

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event exceeds MAX_EVENT_BYTES."""


class ServerEvent(NamedTuple):
    """One event.

    Attributes:
        data: its data lines, joined; never empty.
        name: its ``event`` field; empty without one.
        complete: whether the blank line came that ends an event; False only for the last one of a stream.
    """

    data: bytes
    name: bytes = b""
    complete: bool = True


async def parse_events(pieces: AsyncIterable[bytes]) -> AsyncIterator[ServerEvent]:
    """Yield the events that have data; a last one that lacks its blank line too. Lines end in LF, CR or CR LF."""
    parser = _EventParser()
    async for piece in pieces:
        for event in parser.feed(piece):
            yield event
    for event in parser.close():
        yield event


def format_event(chunk: dict[str, object]) -> bytes:
    return b"data: " + dump_json(chunk) + b"\n\n"


def format_named_event(name: str, data: bytes) -> bytes:
    """Return an event with a name, one printable word; line ends of the data are kept."""
    return b"event: " + name.encode() + b"\ndata: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


class _EventParser:
    """Collects the lines of one event at a time."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line without its end
        self._rest_size = 0
        self._at_start = True
        self._after_cr = False  # an LF that follows belongs to it
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        if not piece:
            return
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if self._at_start:
            piece = self._take_rest() + piece
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._keep_rest(piece)
                return
            piece, self._at_start = piece.removeprefix(_BOM), False
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines(keepends=True)
        rest = b"" if not lines or lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        if lines:
            lines[0] = self._take_rest() + lines[0]
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n"))
        self._keep_rest(rest)
        self._check_size(self._rest_size)

    def close(self) -> Iterator[ServerEvent]:
        if rest := self._take_rest():
            yield from self._line(rest)
        yield from self._event(complete=False)

    def _keep_rest(self, piece: bytes) -> None:
        """Keep a piece until its line ends; pieces are joined once, so that the time grows with their length."""
        if piece:
            self._rest.append(piece)
            self._rest_size += len(piece)

    def _take_rest(self) -> bytes:
        rest = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        return rest

    def _line(self, line: bytes) -> Iterator[ServerEvent]:
        if not line:
            yield from self._event(complete=True)
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check_size(0)
        elif field == b"event":
            self._name = value

    def _event(self, *, complete: bool) -> Iterator[ServerEvent]:
        data, name = b"\n".join(self._data), self._name
        self._data, self._name, self._size = [], b"", 0
        if data:
            yield ServerEvent(data, name, complete)

    def _check_size(self, pending: int) -> None:
        if self._size + pending > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event has more than {MAX_EVENT_BYTES} bytes")
