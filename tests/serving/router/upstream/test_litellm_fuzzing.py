"""OpenAI's streams and answers through LiteLLM, over the wire: the client gets what was sent, or one error.

``P2L_STREAMS=2500`` draws so many instead of a few.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import chunks_of
from p2l.serving.router.upstream.providers import litellm
from p2l.serving.router.upstream.sse import format_event
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import HELLO, Reply, Upstream, upstream
from tests.serving.router.upstream.stream_grammars import SENT, Answer, Sent, wire
from tests.serving.router.upstream.test_stream_fuzzing import NUM_STREAMS, delivered, put_together, sorted_parts

pytest.importorskip("litellm")
# the library warns of its own dependencies
pytestmark = [pytest.mark.filterwarnings("ignore")]
SECONDS = 20.0
KEEP = {"suppress_health_check": list(HealthCheck), "deadline": None}


class Peer:
    """A faked server of OpenAI's API, asked through LiteLLM."""

    def __init__(self, fake: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._fake, self._loop = fake, loop
        self._model = ModelConfig("openai/m", "litellm", 1.0, api_key="sk-peer-000000", base_url=f"{fake.url}/v1")

    def stream(self, parts: list[bytes]) -> tuple[Answer | None, UpstreamError | None]:
        """What a client makes of these bytes; None after an error."""
        chunks: list[Any] = []

        async def collect() -> None:
            answer: AsyncIterator[Any] = litellm.stream(self._request(True, 1), SECONDS)
            async for chunk in answer:
                chunks.append(json.loads(format_event(chunk)[len(b"data: ") :]))

        error = self._ask(Reply(pieces=parts, content_type="text/event-stream"), collect())
        return (put_together(chunks) if error is None else None), error

    def complete(self, body: bytes, num_choices: int) -> tuple[Answer | None, UpstreamError | None]:
        """What a client makes of a whole answer; None after an error."""
        chunks: list[Any] = []

        async def collect() -> None:
            answer = await litellm.complete(self._request(False, num_choices), SECONDS)
            chunks.extend(json.loads(dump_json(chunk)) for chunk in chunks_of(answer))

        error = self._ask(Reply(body=body), collect())
        return (put_together(chunks) if error is None else None), error

    def _request(self, stream: bool, num_choices: int) -> Any:
        request = litellm.build_request(self._model, {"messages": HELLO, "n": num_choices}, stream, True, {})
        return type(request)(request.url, request.headers, request.body, num_choices=num_choices)

    def _ask(self, reply: Reply, question: Coroutine[Any, Any, None]) -> UpstreamError | None:
        self._fake.answer = lambda seen: reply
        try:
            self._loop.run_until_complete(question)
        except UpstreamError as error:
            return error
        return None


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    loop = asyncio.new_event_loop()
    with upstream(lambda seen: Reply()) as fake:
        yield Peer(fake, loop)
    loop.close()


ONE = SENT["openai"].filter(lambda sent: len(sent.answer.choices) == 1)


def plain(events: list[tuple[str, bytes]]) -> bytes:
    """Events as OpenAI writes them: LiteLLM and the library below it fail on heartbeats and other line ends."""
    lines = [data if data == b"[DONE]" else json.dumps(json.loads(data)).encode() for _, data in events]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


def expected(sent: Sent) -> Answer:
    """What was sent, with LiteLLM's words for finish reasons."""
    for choice in sent.answer.choices.values():
        choice.finish = {"eos_token": "stop"}.get(str(choice.finish), choice.finish)
    return sorted_parts(sent.answer)


def test_a_client_gets_what_was_sent(peer: Peer) -> None:
    @settings(max_examples=NUM_STREAMS, **KEEP)
    @given(ONE, st.lists(st.integers(0, 4000), max_size=8))
    def check(sent: Sent, cuts: list[int]) -> None:
        got, error = peer.stream(delivered(plain(sent.events), cuts))
        assert error is None and sorted_parts(got) == expected(sent)

    check()


def test_an_unusual_stream_is_right_or_an_error(peer: Peer) -> None:
    @settings(max_examples=NUM_STREAMS, **KEEP)
    @given(st.data(), ONE, st.lists(st.integers(0, 4000), max_size=8))
    def check(data: st.DataObject, sent: Sent, cuts: list[int]) -> None:
        got, error = peer.stream(delivered(data.draw(wire(sent.events)), cuts))
        assert error is not None or sorted_parts(got) == expected(sent)

    check()


def test_a_stream_that_is_cut_is_an_error_or_whole(peer: Peer) -> None:
    @settings(max_examples=NUM_STREAMS, phases=[Phase.generate], **KEEP)
    @given(st.data(), ONE)
    def check(data: st.DataObject, sent: Sent) -> None:
        stream = plain(sent.events)
        got, _ = peer.stream([stream[: data.draw(st.integers(0, len(stream)))]])
        if got is not None:
            assert got.choices == expected(sent).choices and got.usage in (None, sent.answer.usage)

    check()


def test_a_whole_answer_says_the_same(peer: Peer) -> None:
    @settings(max_examples=NUM_STREAMS, **KEEP)
    @given(SENT["openai"])
    def check(sent: Sent) -> None:
        got, error = peer.complete(json.dumps(sent.whole).encode(), len(sent.answer.choices))
        if sent.answer.usage == (0, 0):  # LiteLLM writes the same if there is none
            sent.answer.usage = None
        assert error is None and sorted_parts(got) == expected(sent)

    check()


def test_a_stream_of_several_choices_is_refused_before_it_is_sent() -> None:
    entry = ModelConfig("openai/m", "litellm", 1.0)
    with pytest.raises(ApiError, match="does not support n > 1 in a stream"):
        litellm.build_request(entry, {"messages": HELLO, "n": 2}, True, True, {})
    assert litellm.build_request(entry, {"messages": HELLO, "n": 2}, False, True, {}).body["n"] == 2
