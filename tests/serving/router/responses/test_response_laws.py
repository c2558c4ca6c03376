"""Laws of the events made from chunks: OpenAI's own types and order; a stream says what the answer says."""

import json
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent

from p2l.serving.router.api.response_events import ResponseEvents
from p2l.serving.router.upstream.chat_answer import chunks_of
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import completion, delta
from tests.serving.router.messages.test_event_laws import drawn
from tests.serving.router.upstream.stream_grammars import SENT, Sent, plain_wire
from tests.serving.router.upstream.test_stream_fuzzing import read

# OpenAI's own types, by the name of the event
TYPES = {get_args(one.model_fields["type"].annotation)[0]: one for one in get_args(get_args(ResponseStreamEvent)[0])}
NAME = "0f3b"
TEXT_OF = {"output_text": "text", "refusal": "refusal"}


def events_of(chunks: list[Any], body: Any = None, cost: float | None = None) -> list[Any]:
    made = ResponseEvents(body or {"input": "hi"}, name=NAME, model="m")
    return [event for chunk in chunks for event in made.feed(chunk)] + list(made.end(cost))


class Assembled:
    """Puts items together from the events; fails if they are not in the order of the API, or not of its types."""

    def __init__(self, events: list[Any]) -> None:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        for event in events:
            TYPES[event["type"]].model_validate(event)
        assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
        assert all(event["response"]["status"] == "in_progress" for event in events[:2])
        self.items: list[Any] = []
        self.done: set[int] = set()
        for event in events[2:-1]:
            self._add(event)
        assert self.done == set(range(len(self.items)))
        self.response = events[-1]["response"]
        assert events[-1]["type"] == f"response.{self.response['status']}" and self.response["output"] == self.items
        Response.model_validate(self.response)

    def _add(self, event: Any) -> None:
        kind, index = event["type"].removeprefix("response."), event["output_index"]
        assert index not in self.done
        if kind == "output_item.added":
            assert index == len(self.items)
            self.items.append({**event["item"], "parts": [], "given": ""})
            return
        item = self.items[index]
        if kind == "output_item.done":
            self._end(item, index, event["item"])
            return
        assert event["item_id"] == item["id"]
        place = event.get("content_index", event.get("summary_index"))
        if kind.endswith("part.added"):
            assert place == len(item["parts"])
            item["parts"].append({**event["part"], "is_open": True})
        elif kind.endswith("part.done"):
            assert item["parts"][place].pop("is_open") and item["parts"][place] == event["part"]
        elif kind in ("function_call_arguments.delta", "custom_tool_call_input.delta"):
            item["given"] += event["delta"]
        elif kind in ("function_call_arguments.done", "custom_tool_call_input.done"):
            assert event.get("arguments", event.get("input")) == (item["given"] or "{}")
            item["given"] = item["given"] or "{}"
        else:
            self._text(item["parts"][place], kind, event)

    def _text(self, part: Any, kind: str, event: Any) -> None:
        field = TEXT_OF.get(kind.split(".")[0], "text")
        assert part["is_open"]
        if kind.endswith(".delta"):
            part[field] += event["delta"]
        else:
            assert event[field] == part[field]

    def _end(self, item: Any, index: int, whole: Any) -> None:
        parts, given = item.pop("parts"), item.pop("given")
        assert all("is_open" not in part for part in parts)
        field = {"message": "content", "reasoning": "summary"}.get(item["type"])
        said = {field: parts} if field else {"input" if "input" in item else "arguments": given}
        extra = {name: whole[name] for name in ("encrypted_content", "extra_content", "status") if name in whole}
        assert {**item, **said, **extra} == whole
        self.items[index] = whole
        self.done.add(index)


def without_places(items: list[Any]) -> list[Any]:
    """The items without their ids, in which their places are; reasoning, text, then calls by their ids."""
    order = {"reasoning": 0, "message": 1}
    shown = [{**item, "id": ""} for item in items]
    return sorted(shown, key=lambda item: (order.get(item["type"], 2), item.get("call_id", "")))


@given(drawn())
def test_a_stream_says_what_the_whole_answer_says(given_: Any) -> None:
    whole, chunks = given_
    streamed, expected = Assembled(events_of(chunks)), Assembled(events_of(list(chunks_of(whole))))
    assert without_places(streamed.items) == without_places(expected.items)
    differs = ("output", "created_at", "completed_at", "provider_specific_fields")
    assert {k: v for k, v in streamed.response.items() if k not in differs} == {
        k: v for k, v in expected.response.items() if k not in differs
    }
    message = whole["choices"][0]["message"]
    assert "".join(part["text"] for item in streamed.items for part in item.get("content", ())) == message["content"]
    assert "".join(part["text"] for item in streamed.items for part in item.get("summary", ())) == message.get(
        "reasoning_content", ""
    )
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in streamed.items if "call_id" in item]
    assert sorted(calls) == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", ())
    ]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_a_client_gets_what_a_provider_sent(kind: str) -> None:
    @given(SENT[kind])
    def check(sent: Sent) -> None:
        assume(len(sent.answer.choices) == 1)
        chunks, error = read(kind, plain_wire(sent))
        if error is not None:
            assert sent.fails or sent.reordered
            return
        got = Assembled(events_of(chunks))
        (choice,) = sent.answer.choices.values()
        texts = [
            "".join(part.get("text", part.get("refusal")) for item in got.items for part in item.get(field, ()))
            for field in ("content", "summary")
        ]
        assert texts == [choice.text, choice.reasoning]
        calls = [(i["call_id"], i["name"], json.loads(i["arguments"])) for i in got.items if "call_id" in i]
        assert sorted(calls, key=str) == sorted(choice.calls, key=str)
        if sent.answer.usage is not None:
            usage = got.response["usage"]
            assert (usage["input_tokens"], usage["output_tokens"]) == sent.answer.usage

    check()


def test_text_after_reasoning_after_text_are_items_of_their_own() -> None:
    chunks = [delta("a"), delta(reasoning_content="b"), delta("c"), delta(refusal="d"), delta(finish="stop")]
    items = Assembled(events_of(chunks)).items
    assert [item["type"] for item in items] == ["message", "reasoning", "message"]
    assert [part["type"] for part in items[2]["content"]] == ["output_text", "refusal"]


@pytest.mark.parametrize(
    ("finish", "details"),
    [("stop", None), ("tool_calls", None), ("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_ends(finish: str, details: str | None) -> None:
    response = Assembled(events_of([delta("Hel"), delta(finish=finish)])).response
    assert (response["incomplete_details"] or {}).get("reason") == details
    assert response["status"] == ("incomplete" if details else "completed") == response["output"][0]["status"]


def test_the_input_of_a_custom_tool_is_its_text() -> None:
    function = {"name": "patch", "arguments": json.dumps({"input": 'a\n"b" ü'})}
    body = {"input": "hi", "tools": [{"type": "custom", "name": "patch"}]}
    whole = completion("", tool_calls=[{"id": "c", "type": "function", "function": function}])
    (item,) = Assembled(events_of(list(chunks_of(whole)), body)).items
    assert (item["type"], item["input"], item["call_id"]) == ("custom_tool_call", 'a\n"b" ü', "c")
    whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = "not JSON"
    assert Assembled(events_of(list(chunks_of(whole)), body)).items[0]["input"] == "not JSON"


def test_a_call_of_a_namespace_has_its_name() -> None:
    inner = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    body = {"input": "hi", "tools": [{"type": "namespace", "name": "n", "description": "d", "tools": inner}]}
    functions = [{"name": "n__f", "arguments": "{}"}, {"name": "n__g", "arguments": '{"input": "x"}'}]
    calls = [{"id": str(i), "type": "function", "function": function} for i, function in enumerate(functions)]
    items = Assembled(events_of(list(chunks_of(completion("", tool_calls=calls))), body)).items
    assert [(item["type"], item["namespace"], item["name"]) for item in items] == [
        ("function_call", "n", "f"),
        ("custom_tool_call", "n", "g"),
    ]


@st.composite
def usages(draw: st.DrawFn) -> tuple[Any, Any]:
    prompt, cached, completed, reasoning = (draw(st.integers(0, 1000)) for _ in range(4))
    prompt, completed = prompt + cached, completed + reasoning
    usage = {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}
    usage |= {
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return usage, (prompt, cached, completed, reasoning)


@given(usages())
def test_usage(drawn_: Any) -> None:
    usage, counts = drawn_
    chunks = [delta("x", finish="stop"), {**delta(), "choices": [], "usage": usage}]
    got = Response.model_validate(Assembled(events_of(chunks)).response).usage
    assert got is not None and got.total_tokens == got.input_tokens + got.output_tokens
    cached, reasoning = got.input_tokens_details.cached_tokens, got.output_tokens_details.reasoning_tokens
    assert (got.input_tokens, cached, got.output_tokens, reasoning) == counts


def test_without_a_usage_there_is_none() -> None:
    assert Assembled(events_of([delta("x", finish="stop")])).response["usage"] is None


def test_a_call_without_a_name_is_the_model_s_fault() -> None:
    with pytest.raises(UpstreamError):
        events_of([delta(tool_calls=[{"index": 0, "id": "c", "function": {"arguments": "{}"}}])])
