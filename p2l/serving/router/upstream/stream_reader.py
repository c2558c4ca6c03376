"""Read a provider's server-sent events into chunks. Knows no HTTP: the bytes may come from anywhere."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import Any

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.accounts.answer_tally import ReportUsage
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.chat_answer import cut_off
from p2l.serving.router.upstream.lenient_json import loads
from p2l.serving.router.upstream.reported_errors import error_in_stream
from p2l.serving.router.upstream.split_characters import SplitCharacters
from p2l.serving.router.upstream.sse import EventTooLargeError, ServerEvent, parse_events
from p2l.serving.router.upstream.upstream_request import StreamParser
from p2l.serving.router.upstream_error import malformed
from p2l.unicode_text import without_surrogates

_HEARTBEATS = (b"", b"null", b"{}")
_DONE = b"[DONE]"


async def read_stream(
    pieces: AsyncIterable[bytes],
    parser: StreamParser,
    secrets: tuple[str, ...] = (),
    num_choices: int = 1,
    report_usage: ReportUsage = lambda usage, coverage: None,
) -> AsyncGenerator[JSON, None]:
    """Yield the chunks of a stream; UpstreamError if it reports an error, is malformed, or ends before the answer.

    ``report_usage`` gets what the events report outside the chunks, after the chunks of each event, however it ends.
    """
    reader = _StreamReader(parser, secrets)
    try:
        async for event in parse_events(pieces):
            try:
                for chunk in reader.read(event):
                    yield chunk
            finally:
                if (report := parser.take_usage()) is not None:
                    report_usage(*report)
            if reader.ended:
                break
    except EventTooLargeError:
        raise malformed("an event without end") from None
    for chunk in reader.finish(num_choices):
        yield chunk


class _StreamReader:
    """Turns events into chunks of whole characters."""

    def __init__(self, parser: StreamParser, secrets: tuple[str, ...]) -> None:
        self._parser = parser
        self._secrets = secrets
        self._characters = SplitCharacters()
        self._is_strict = True  # so far; a chunk may hold text of an earlier event
        self._saw_done = False

    @property
    def ended(self) -> bool:
        return self._saw_done or self._parser.ended

    def read(self, event: ServerEvent) -> Iterator[JSON]:
        data = event.data.strip()
        if data in _HEARTBEATS:
            return
        if data == _DONE:
            self._saw_done = True
            return
        value, strict = _parse(event)
        self._is_strict = self._is_strict and strict
        if error := error_in_stream(event.name, value, self._secrets):
            raise error
        if not isinstance(value, dict):
            raise malformed("an event that is not an object")
        raw = event.data if strict else dump_json(without_surrogates(value))
        for chunk in self._parse(value, raw):
            yield chunk if self._is_strict else self._characters.join(chunk)

    def _parse(self, value: JSON, raw: bytes) -> Iterator[JSON]:
        try:
            yield from self._parser.parse(value, raw)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise malformed("an event that is not in its form") from None

    def finish(self, num_choices: int) -> Iterator[JSON]:
        yield from self._parser.finish(self._saw_done, num_choices)
        yield from self._characters.flush({})


def _parse(event: ServerEvent) -> tuple[Any, bool]:
    try:
        return loads(event.data)
    except ValueError:
        raise malformed("an event that is not JSON") if event.complete else cut_off() from None
