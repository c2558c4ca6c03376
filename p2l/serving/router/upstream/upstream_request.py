"""What a provider turns a client's request into, and what it must parse of the answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit, urlunsplit

from p2l.serving.router.accounts.answer_tally import Coverage
from p2l.serving.router.chat_request import JSON, Thoughts
from p2l.serving.router.config.server_config import ModelConfig


@dataclass(frozen=True)
class UpstreamRequest:
    """An HTTP POST to a provider.

    Attributes:
        url: of the provider.
        headers: include the key.
        body: sent as JSON.
        dropped: fields of the client that this provider does not support.
        num_choices: as many as were asked for.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    body: JSON = field(repr=False)
    dropped: tuple[str, ...] = ()
    num_choices: int = 1


@lru_cache(maxsize=1024)
def url_of(base: str, path: str, version: str = "") -> str:
    """Return the URL of a path below ``base``, which may end with ``version`` and have a query of its own."""
    parts, (path, _, query) = urlsplit(base), path.partition("?")
    joined = "&".join(filter(None, (parts.query, query)))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix(version) + path, joined, ""))


class UsageReport(NamedTuple):
    """A usage with the names of chat completions, and what it counts of the answer so far."""

    usage: JSON
    coverage: Coverage


@runtime_checkable
class StreamParser(Protocol):
    """Parses the events of one stream."""

    @property
    def ended(self) -> bool:
        """Whether no more events will come."""

    def parse(self, event: JSON, raw: bytes) -> Iterator[JSON]:
        """Yield the chunks of one event, which ``raw`` holds as strict JSON; UpstreamError if it is malformed."""

    def take_usage(self) -> UsageReport | None:
        """Return the usage that the events since the last call reported outside the chunks; None if they did not."""

    def finish(self, saw_done: bool, num_choices: int) -> Iterator[JSON]:
        """Yield what is left when the events end; UpstreamError if the answer is not whole.

        Args:
            saw_done: whether the server sent [DONE].
            num_choices: as many as were asked for.
        """


RequestBuilder = Callable[[ModelConfig, JSON, bool, bool, Thoughts], UpstreamRequest]
"""(model, body, stream, want_usage, thoughts) -> request.

``want_usage`` asks a stream for its usage; ``thoughts`` are those behind the calls of the history.
"""


@dataclass(frozen=True)
class Provider:
    """How one provider is called. A file in ``providers/`` implements each.

    Attributes:
        build_request: translates a client's request.
        parse_completion: checks or translates a whole answer; KeyError, TypeError, AttributeError or ValueError if it
            is malformed.
        stream_parser: makes the parser of one stream.
        usage_of: returns the usage in a whole answer, also one that fails its check; errors as ``parse_completion``.
        chunks_of: turns a checked answer into a stream, for servers that do not stream; None if the API cannot.
    """

    build_request: RequestBuilder
    parse_completion: Callable[[JSON], JSON]
    stream_parser: Callable[[], StreamParser]
    usage_of: Callable[[JSON], object]
    chunks_of: Callable[[JSON], Iterator[JSON]] | None = None
