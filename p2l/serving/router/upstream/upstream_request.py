"""What a translation makes of a request, and what it must be able to read of the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

JSON = dict[str, Any]


@dataclass(frozen=True)
class UpstreamRequest:
    """An HTTP POST to a provider; ``dropped``: fields of the client that this provider does not know."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: JSON = field(repr=False)
    dropped: tuple[str, ...] = ()


@runtime_checkable
class StreamParser(Protocol):
    """Reads the events of one stream."""

    finished: bool  # the answer is complete; a stream that ends before was cut off
    ended: bool  # nothing more will come

    def read(self, data: bytes) -> Iterator[JSON]:
        """The chunks of one event, in OpenAI's form; ``UpstreamError`` if it tells of an error or is malformed."""
