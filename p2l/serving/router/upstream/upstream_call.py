"""What a translation makes of a request, and what it must be able to read of the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

JSON = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """An HTTP POST to a provider; ``dropped``: fields of the client that this provider does not know."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: JSON = field(repr=False)
    dropped: tuple[str, ...] = ()


@runtime_checkable
class ChunkReader(Protocol):
    """Reads the events of one stream."""

    finished: bool  # the answer is complete; a stream that ends before was cut off
    ended: bool  # nothing more will come

    def read(self, data: bytes) -> Iterator[JSON]:
        """The chunks of one event, in OpenAI's form; ``UpstreamError`` if it tells of an error or is malformed."""


class UpstreamError(Exception):
    """A provider failed. ``reason`` is a word for logs and metrics; ``message`` may be shown to the client.

    ``status``: what the client is told where no other model answers. ``again``: whether asking the same model once more
    may help. ``ours``: the request itself is at fault, so that no other attempt is made.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        status: int = 502,
        again: bool = True,
        ours: bool = False,
        retry_after: float | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message
        self.status = status
        self.again = again
        self.ours = ours
        self.retry_after = retry_after
        self.code = code
        self.param = param


def malformed(what: str) -> UpstreamError:
    return UpstreamError("malformed", f"the model sent {what}")
