"""What one HTTP request may send, and how long it may take."""

from dataclasses import dataclass
from itertools import accumulate

LINGER_SECONDS = 30.0  # most time for what a client sends after a refusal, as nginx's lingering_time
LINGER_SILENCE = 2.0  # longest silence in it

_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request, the same on both servers.

    Attributes:
        header_bytes: most bytes of path, query and headers together.
        header_seconds: longest time between the first byte of a request and the end of its headers.
        body_bytes: most bytes of the body.
        body_seconds: longest time that the body may take.
        nesting: deepest nesting of arrays and objects in the body; orjson writes 254 levels.
    """

    header_bytes: int = 32 << 10
    header_seconds: float = 15.0
    body_bytes: int = 32 << 20
    body_seconds: float = 60.0
    nesting: int = 250


def is_nested_deeper(body: bytes, limit: int) -> bool:
    """Return whether the arrays and objects of a JSON text are nested deeper than ``limit``.

    Few bodies have more than ``limit`` brackets; only these are read bracket by bracket.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    steps = (1 if bracket in b"[{" else -1 for bracket in outside_strings.translate(None, _OTHERS))
    return max(accumulate(steps), default=0) > limit
