"""What a provider turns a client's request into, and what it must parse of the answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig


@dataclass(frozen=True)
class UpstreamRequest:
    """An HTTP POST to a provider.

    Attributes:
        url: of the provider.
        headers: include the key.
        body: sent as JSON.
        dropped: fields of the client that this provider does not support.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    body: JSON = field(repr=False)
    dropped: tuple[str, ...] = ()


@runtime_checkable
class StreamParser(Protocol):
    """Parses the server-sent events of one stream.

    Attributes:
        finished: the answer is complete; a stream that ends before was cut off.
        ended: no more events will come.
    """

    finished: bool
    ended: bool

    def parse(self, data: bytes) -> Iterator[JSON]:
        """Yield the chunks of one event; UpstreamError if it reports an error or is malformed."""


@dataclass(frozen=True)
class Provider:
    """How one provider is called. A file in ``providers/`` implements each.

    Attributes:
        build_request: (model, body, stream, want_usage) -> request. ``want_usage`` asks a stream for its usage.
        parse_completion: checks or translates a whole answer; KeyError, TypeError or AttributeError if malformed.
        stream_parser: makes the parser of one stream.
    """

    build_request: Callable[[ModelConfig, JSON, bool, bool], UpstreamRequest]
    parse_completion: Callable[[JSON], JSON]
    stream_parser: Callable[[], StreamParser]
