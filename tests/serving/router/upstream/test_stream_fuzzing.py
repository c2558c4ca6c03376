"""Streams drawn from each provider's grammar: the client gets what was sent, or one error; never something else.

``P2L_STREAMS=2500`` draws so many of each provider instead of a few.
"""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.upstream.client import read_completion
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from p2l.serving.router.upstream.sse import format_event
from p2l.serving.router.upstream.stream_reader import read_stream
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.upstream.stream_grammars import SENT, Answer, Choice, Sent, wire

NUM_STREAMS = int(os.environ.get("P2L_STREAMS", "40"))
JSON = dict[str, Any]


def read(kind: str, parts: list[bytes], num_choices: int = 1) -> tuple[list[JSON], UpstreamError | None]:
    """The chunks that a client gets of these bytes, and the error that ends them."""
    chunks: list[JSON] = []

    async def arriving() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def collect() -> None:
        async for chunk in read_stream(arriving(), PROVIDERS["chat"][kind].stream_parser(), (), num_choices):
            chunks.append(json.loads(format_event(chunk)[len(b"data: ") :]))

    try:
        collect().send(None)  # nothing in it waits, so that it needs no event loop
    except StopIteration:
        return chunks, None
    except UpstreamError as error:
        return chunks, error
    raise AssertionError("the reader waited")


def put_together(chunks: list[JSON]) -> Answer:
    """What OpenAI's clients make of chunks: texts and arguments joined by the indexes."""
    choices: dict[int, Choice] = {}
    calls: dict[int, dict[int, list[str]]] = {}
    usage = None
    for chunk in chunks:
        if counts := chunk.get("usage"):
            usage = (counts["prompt_tokens"], counts["completion_tokens"])
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], Choice())
            choice.finish = part.get("finish_reason") or choice.finish
            delta = part["delta"]
            choice.text += delta.get("content") or ""
            choice.reasoning += delta.get("reasoning_content") or ""
            choice.carried += carried_in(delta)
            for call in delta.get("tool_calls") or ():
                joined = calls.setdefault(part["index"], {}).setdefault(call["index"], ["", "", ""])
                function = call.get("function") or {}
                joined[0] += call.get("id") or ""
                joined[1] += function.get("name") or ""
                joined[2] += function.get("arguments") or ""
    for index, found in calls.items():
        choices[index].calls = [(i, name, json.loads(text)) for _, (i, name, text) in sorted(found.items())]
    return Answer(choices, usage)


def carried_in(delta: JSON) -> list[Any]:
    fields = delta.get("provider_specific_fields") or {}
    entries = [entry for name in ("blocks", "parts", "events") for entry in fields.get(name) or ()]
    whole = [{name: value for name, value in entry.items() if name != "index"} for entry in entries]
    images = [image["image_url"]["url"] for image in delta.get("images") or ()]
    return [entry.get("event", entry) for entry in whole] + images


def sorted_parts(answer: Answer) -> Answer:
    """The answer with what is carried in an order of its own: it is not part of the text."""
    for choice in answer.choices.values():
        choice.carried.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    return answer


def delivered(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def outcome(kind: str, parts: list[bytes], sent: Sent) -> tuple[Answer | None, UpstreamError | None]:
    """What a client makes of the chunks; None after an error."""
    chunks, error = read(kind, parts, len(sent.answer.choices))
    return (None if error else sorted_parts(put_together(chunks))), error


CUTS = st.lists(st.integers(0, 4000), max_size=8)
STREAMED = [kind for kind in SENT if kind != "openai-o1"]


@pytest.mark.parametrize("kind", STREAMED)
def test_a_client_gets_what_was_sent(kind: str) -> None:
    @settings(max_examples=NUM_STREAMS)
    @given(st.data(), SENT[kind], CUTS)
    def check(data: st.DataObject, sent: Sent, cuts: list[int]) -> None:
        got, error = outcome(kind, delivered(data.draw(wire(sent.events)), cuts), sent)
        if error is None:
            assert not sent.fails and got == sorted_parts(sent.answer)
        else:
            assert sent.fails or (sent.reordered and error.reason == "malformed"), error.message

    check()


@pytest.mark.parametrize("kind", STREAMED)
def test_a_stream_that_is_cut_is_an_error_or_whole(kind: str) -> None:
    @settings(max_examples=NUM_STREAMS)
    @given(st.data(), SENT[kind])
    def check(data: st.DataObject, sent: Sent) -> None:
        stream = data.draw(wire(sent.events))
        check_cut(kind, stream[: data.draw(st.integers(0, len(stream)))], sent)

    check()


@pytest.mark.parametrize("kind", STREAMED)
def test_every_cut_of_a_stream(kind: str) -> None:
    # a failure names its cut already, without shrinking
    @settings(max_examples=NUM_STREAMS // 10, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data(), SENT[kind])
    def check(data: st.DataObject, sent: Sent) -> None:
        stream = data.draw(wire(sent.events))
        assume(len(stream) < 1500)  # the time grows with its square
        for end in range(len(stream)):
            check_cut(kind, stream[:end], sent)

    check()


def check_cut(kind: str, stream: bytes, sent: Sent) -> None:
    got, error = outcome(kind, [stream], sent)
    if got is None:
        assert error is not None
        return
    assert not sent.fails and got.choices == without_late_parts(sorted_parts(sent.answer), got)
    assert got.usage in (None, sent.answer.usage)  # it comes after the end of the answer


def without_late_parts(answer: Answer, got: Answer) -> dict[int, Choice]:
    """The choices, without an unknown event after the end of an answer, which the cut may have taken."""
    late = [entry for entry in answer.choices[0].carried if entry not in got.choices[0].carried]
    assert all("aNewField" in entry for entry in late)
    first = replace(answer.choices[0], carried=[entry for entry in answer.choices[0].carried if entry not in late])
    return {**answer.choices, 0: first}


@pytest.mark.parametrize("kind", STREAMED)
@pytest.mark.parametrize("event", [b'{"id": ', b'{"error": {"message": "no"}}', b'["x"]', b'"x"'])
def test_a_broken_event_is_one_error(kind: str, event: bytes) -> None:
    @settings(max_examples=max(1, NUM_STREAMS // 4))
    @given(st.data(), SENT[kind])
    def check(data: st.DataObject, sent: Sent) -> None:
        events = list(sent.events)
        last = len(events) - (kind != "gemini")  # the others have an event that ends them
        events.insert(data.draw(st.integers(0, last)), ("", event))
        chunks, error = read(kind, [data.draw(wire(events))], len(sent.answer.choices))
        assert error is not None or events[-2:] == [("", b"[DONE]"), ("", event)]
        assert not any("error" in chunk for chunk in chunks)

    check()


@pytest.mark.parametrize("kind", SENT)
def test_a_whole_answer_says_the_same(kind: str) -> None:
    provider = PROVIDERS["chat"][kind]

    @settings(max_examples=NUM_STREAMS)
    @given(SENT[kind])
    def check(sent: Sent) -> None:
        try:
            completion = read_completion(json.dumps(sent.whole).encode(), provider, ())
        except UpstreamError:
            assert sent.fails
            return
        assert provider.chunks_of is not None
        got = put_together([json.loads(dump_json(chunk)) for chunk in provider.chunks_of(completion)])
        assert not sent.fails and sorted_parts(got) == sorted_parts(sent.answer)

    check()
