"""Server-sent events: parse a byte stream, format a chunk."""

from collections.abc import AsyncIterable, AsyncIterator

import orjson

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 16 << 20


class EventTooLargeError(ValueError):
    """One event exceeds MAX_EVENT_BYTES."""


async def parse_events(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each event: lines of one event joined, comments and other fields skipped."""
    buffer = b""
    data: list[bytes] = []
    async for piece in pieces:
        buffer += piece
        if len(buffer) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event has more than {MAX_EVENT_BYTES} bytes")
        *lines, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if buffer.startswith(b"data:"):
        data.append(buffer[5:].strip())
    if data:
        yield b"\n".join(data)


def format_event(chunk: dict[str, object]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
