"""Laws of the events that are made from chunks: one block at a time, and a stream says what the whole answer says."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from p2l.serving.router.api.message_answer import message_of
from p2l.serving.router.api.message_events import MessageEvents
from p2l.serving.router.upstream.providers.anthropic_messages import NATIVE, StreamParser
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import completion, delta
from tests.serving.router.upstream.stream_grammars import ARGUMENTS, NAMES, SENT, TEXTS, Sent, plain_wire
from tests.serving.router.upstream.test_stream_fuzzing import read

AS_CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def assemble(events: list[Any]) -> dict[str, Any]:
    """The message that a client puts together; fails if the events are not in Anthropic's order."""
    (first, ping), *_ = [events[:2]]
    assert (first["type"], ping) == ("message_start", {"type": "ping"})
    message: dict[str, Any] = {**first["message"], "content": []}
    is_open = False
    for event in events[2:]:
        kind = event["type"]
        if kind == "content_block_start":
            assert not is_open and event["index"] == len(message["content"])
            message["content"].append({**event["content_block"], "json": ""})
            is_open = True
        elif kind == "content_block_delta":
            assert is_open and event["index"] == len(message["content"]) - 1
            block = message["content"][-1]
            name = {"text_delta": "text", "thinking_delta": "thinking"}.get(event["delta"]["type"], "partial_json")
            field = "json" if name == "partial_json" else name
            block[field] += event["delta"][name]
        elif kind == "content_block_stop":
            assert is_open
            is_open = False
            block = message["content"][-1]
            written = block.pop("json")
            block |= {"input": json.loads(written)} if written else {}
        elif kind == "message_delta":
            assert not is_open
            message |= {**event["delta"], "usage": event["usage"]}
            message |= {name: event[name] for name in ("provider_specific_fields",) if name in event}
    assert events[-1] == {"type": "message_stop"} and events[-2]["type"] == "message_delta"
    return message


@st.composite
def drawn(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A completion, and the chunks of the same answer; pieces of its calls may be mixed."""
    text, reasoning = draw(TEXTS), draw(TEXTS)
    calls = [
        {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": draw(NAMES), "arguments": json.dumps(draw(ARGUMENTS))},
        }
        for number in range(draw(st.integers(0, 3)))
    ]
    message = {**({"tool_calls": calls} if calls else {}), **({"reasoning_content": reasoning} if reasoning else {})}
    whole = {**completion(text, **message), "usage": USAGE}
    chunks = [delta("", role="assistant")]
    chunks += [delta(reasoning_content=letter) for letter in reasoning] + [delta(letter) for letter in text]
    pieces = [
        [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]
        + [{"index": index, "function": {"arguments": letter}} for letter in call["function"]["arguments"]]
        for index, call in enumerate(calls)
    ]
    while any(pieces):
        pending = draw(st.sampled_from([queue for queue in pieces if queue]))
        chunks.append(delta(tool_calls=[pending.pop(0)]))
    finish = whole["choices"][0]["finish_reason"]
    return whole, [*chunks, delta(finish=finish), {**delta(), "choices": [], "usage": USAGE}]


@given(drawn(), st.booleans())
def test_a_stream_says_what_the_whole_answer_says(given_: Any, shows_thinking: bool) -> None:
    whole, chunks = given_
    made = MessageEvents(AS_CHAT, model="m", shows_thinking=shows_thinking)
    events = [event for chunk in chunks for event in made.feed(chunk)] + list(made.end())
    streamed, expected = assemble(events), message_of(whole, AS_CHAT, model="m", shows_thinking=shows_thinking)
    ids = [block["id"] for block in expected["content"] if block["type"] == "tool_use"]
    order = {name: place for place, name in enumerate(ids)}
    streamed["content"].sort(key=lambda block: order.get(block.get("id"), -1))  # calls: by their first pieces
    expected.pop("provider_specific_fields", None)
    assert streamed == expected


def test_a_call_that_goes_on_after_text_is_an_error() -> None:
    made = MessageEvents(AS_CHAT, model="m", shows_thinking=False)
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
    rest = {"index": 0, "function": {"arguments": "}"}}
    chunks = [delta(tool_calls=[call]), delta("then text"), delta(tool_calls=[rest])]
    with pytest.raises(UpstreamError):
        _ = [event for chunk in chunks for event in made.feed(chunk)]


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_client_gets_what_another_provider_sent(kind: str) -> None:
    @given(SENT[kind])
    def check(sent: Sent) -> None:
        assume(len(sent.answer.choices) == 1)
        chunks, error = read(kind, plain_wire(sent))
        if error is not None:
            assert sent.fails
            return
        made = MessageEvents(AS_CHAT, model="m", shows_thinking=True)
        got = assemble([event for chunk in chunks for event in made.feed(chunk)] + list(made.end()))
        (choice,) = sent.answer.choices.values()
        texts = {"text": "", "thinking": ""}
        for block in got["content"]:
            texts |= {kind: texts[kind] + block[kind] for kind in texts if block["type"] == kind}
        assert (texts["text"], texts["thinking"]) == (choice.text, choice.reasoning)
        calls = [
            (block["id"], block["name"], block["input"]) for block in got["content"] if block["type"] == "tool_use"
        ]
        assert sorted(calls, key=str) == sorted(choice.calls, key=str) and isinstance(got["model"], str)
        if sent.answer.usage is not None:
            assert (got["usage"]["input_tokens"], got["usage"]["output_tokens"]) == sent.answer.usage

    check()


@given(SENT["anthropic"])
def test_every_event_of_anthropic_passes(sent: Sent) -> None:
    parser, got, error = StreamParser(), [], None
    try:
        for _, data in sent.events:
            parts = list(parser.parse(json.loads(data), data))
            got += [part[NATIVE] for part in parts if NATIVE in part]
        list(parser.finish(False, 1))
    except UpstreamError as failure:
        error = failure
    assert got == sent.events if error is None else sent.reordered
