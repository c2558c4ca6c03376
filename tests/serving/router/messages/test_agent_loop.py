"""An agent of thirty tool calls by Anthropic's own client, before each provider: nothing of the history is lost."""

import base64
import json
from typing import Any

import anthropic
import pytest

from tests.serving.router.conformance.vendors import CLAUDE, GEMINI, PNG, pieces
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, completion, delta, model, stream

NUM_CALLS = 30
SYSTEM = [{"type": "text", "text": "You are a coding agent.", "cache_control": {"type": "ephemeral"}}]
TOOL = {
    "name": "read_file",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}},
}
PDF = base64.b64encode(b"%PDF-1.4 x").decode()
END = "All read: ü 😀."


def inputs(number: int) -> dict[str, Any]:
    """The arguments of a call, in this order of keys; numbers and text that a careless translation changes."""
    return {"path": f"src/ü{number}.py", "line": number, "big": 12345678901234567890, "nested": {"b": [1, 2.5, None]}}


def signature(number: int) -> str:
    return f"c2lnbmVk{number:04d}=="


def results(number: int, tool_id: str) -> dict[str, Any]:
    """The result of a call: text, blocks, an error, an image or nothing."""
    kinds: list[dict[str, Any]] = [
        {"content": f"line {number}\n\ttab"},
        {"content": [{"type": "text", "text": f"part {number}"}, {"type": "text", "text": "second part"}]},
        {"content": f"no such file {number}", "is_error": True},
        {
            "content": [
                {"type": "text", "text": f"seen {number}"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]
        },
        {},
    ]
    return {"type": "tool_result", "tool_use_id": tool_id, **kinds[number % len(kinds)]}


class Model:
    """A model at one vendor's API that calls the tool thirty times and then ends. It notes what it was asked."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, seen: Seen) -> Reply:
        number = {"openai": openai_calls, "gemini": gemini_calls, "anthropic": claude_calls}[self.kind](seen.body)
        return {"openai": openai_reply, "gemini": gemini_reply, "anthropic": claude_reply}[self.kind](seen, number)


def openai_calls(body: Any) -> int:
    return sum(message["role"] == "tool" for message in body["messages"])


def gemini_calls(body: Any) -> int:
    return sum("functionResponse" in part for content in body["contents"] for part in content["parts"])


def claude_calls(body: Any) -> int:
    blocks = [b for m in body["messages"] for b in m["content"] if isinstance(m["content"], list)]
    return sum(block["type"] == "tool_result" for block in blocks)


def openai_reply(seen: Seen, number: int) -> Reply:
    if number == NUM_CALLS:
        text: Any = [delta("", role="assistant"), *map(delta, pieces(END)), delta(finish="stop")]
        return stream(*text) if seen.body.get("stream") else Reply(body=completion(END))
    function = {"name": "read_file", "arguments": json.dumps(inputs(number))}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    said = f"Step {number}. "
    if not seen.body.get("stream"):
        return Reply(body=completion(said, tool_calls=[call]))
    chunks: list[Any] = [delta("", role="assistant"), *map(delta, pieces(said))]
    chunks.append(delta(tool_calls=[{"index": 0, **call, "function": {**function, "arguments": ""}}]))
    for piece in pieces(function["arguments"]):
        chunks.append(delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]))
    usage = {**delta(), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
    return stream(*chunks, delta(finish="tool_calls"), usage)


def gemini_reply(seen: Seen, number: int) -> Reply:
    call = {"functionCall": {"name": "read_file", "args": inputs(number)}, "thoughtSignature": signature(number)}
    parts: list[Any] = [{"text": END}] if number == NUM_CALLS else [{"text": f"Step {number}. "}, call]
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    head = {"modelVersion": GEMINI, "responseId": "r1", "usageMetadata": usage}
    if "stream" not in seen.path:
        content = {"role": "model", "parts": parts}
        return Reply(body={**head, "candidates": [{"content": content, "finishReason": "STOP", "index": 0}]})
    events: list[Any] = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
    events[-1]["finishReason"] = "STOP"
    return stream(*({**head, "candidates": [event]} for event in events), done=False)


def claude_reply(seen: Seen, number: int) -> Reply:
    blocks: list[Any] = [{"type": "text", "text": END}]
    if number < NUM_CALLS:
        blocks = [
            {"type": "thinking", "thinking": f"thought {number}", "signature": signature(number)},
            {"type": "redacted_thinking", "data": f"REDACTED{number}"},
            {"type": "text", "text": f"Step {number}. "},
            {"type": "tool_use", "id": f"toolu_{number}", "name": "read_file", "input": inputs(number)},
        ]
    stop = "end_turn" if number == NUM_CALLS else "tool_use"
    usage = {"input_tokens": 9, "output_tokens": 3}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "usage": usage}
    if not seen.body.get("stream"):
        return Reply(body={**head, "content": blocks, "stop_reason": stop, "stop_sequence": None})
    events: list[Any] = [{"type": "message_start", "message": {**head, "content": [], "stop_reason": None}}]
    for index, block in enumerate(blocks):
        events += [{"index": index, **event} for event in block_events(block)]
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 3}})
    return stream(*events, {"type": "message_stop"}, done=False, named=True)


def block_events(block: dict[str, Any]) -> list[dict[str, Any]]:
    empty: dict[str, Any] = {
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "text": {"type": "text", "text": ""},
        "tool_use": {**block, "input": {}},
    }
    deltas: list[dict[str, Any]] = []
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    elif block["type"] == "tool_use":
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in pieces(json.dumps(block["input"]))]
    return [
        {"type": "content_block_start", "content_block": empty.get(block["type"], block)},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


def client_of(running: Running) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0, timeout=20)


def loop(client: anthropic.Anthropic, streamed: bool, **fields: Any) -> list[Any]:
    """The conversation of an agent that sends back what it got, as the client holds it."""
    ask: dict[str, Any] = {"model": "-", "max_tokens": 4000, "system": SYSTEM, "tools": [TOOL], **fields}
    first = [
        {"type": "text", "text": "Read all files.", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "t"},
    ]
    messages: list[Any] = [{"role": "user", "content": first}]
    while True:
        if streamed:
            with client.messages.stream(messages=messages, **ask) as events:
                answer: Any = events.get_final_message()
        else:
            answer = client.messages.create(messages=messages, **ask)
        messages.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        uses = [block for block in answer.content if block.type == "tool_use"]
        if not uses:
            assert answer.stop_reason == "end_turn"
            return messages
        assert answer.stop_reason == "tool_use" and len(uses) == 1
        number = len(messages) // 2 - 1
        assert uses[0].input == inputs(number) and list(uses[0].input) == list(inputs(number))
        messages.append({"role": "user", "content": [results(number, uses[0].id)]})


def running(start: Starter, kind: str, name: str) -> tuple[Any, Running]:
    fake = start.upstream(Model(kind))
    keys: dict[str, Any] = {"capabilities": {"context_length": 1_000_000}}
    entry = model(fake.url, type=kind, name=name, **keys)
    return fake, start.router({"m": entry}, router_type="random")


@pytest.mark.parametrize("streamed", [False, True])
def test_before_anthropic_every_byte_of_the_history_arrives(start: Starter, streamed: bool) -> None:
    fake, router = running(start, "anthropic", CLAUDE)
    thinking = {"type": "enabled", "budget_tokens": 2000}
    with client_of(router) as client:
        messages = loop(client, streamed, thinking=thinking)
    assert messages[-1]["content"][0]["text"] == END and len(fake.seen) == NUM_CALLS + 1
    last = fake.seen[-1].body
    assert last["messages"] == messages[:-1] and last["system"] == SYSTEM and last["tools"] == [TOOL]
    assert last["thinking"] == thinking and last["model"] == CLAUDE
    for number in range(NUM_CALLS):
        kinds = [block["type"] for block in last["messages"][2 * number + 1]["content"]]
        assert kinds == ["thinking", "redacted_thinking", "text", "tool_use"]
        assert last["messages"][2 * number + 1]["content"][0]["signature"] == signature(number)


@pytest.mark.parametrize("streamed", [False, True])
def test_before_openai_every_message_has_its_counterpart(start: Starter, streamed: bool) -> None:
    fake, router = running(start, "openai", "gpt-4.1")
    with client_of(router) as client:
        messages = loop(client, streamed)
    assert messages[-1]["content"][0]["text"] == END and len(fake.seen) == NUM_CALLS + 1
    sent = fake.seen[-1].body["messages"]
    assert [part["type"] for part in sent[1]["content"]] == ["text", "image_url", "file"]
    assert sent[1]["content"][1]["image_url"]["url"].endswith(PNG)
    assert sent[1]["content"][2]["file"]["file_data"].endswith(PDF)
    history = iter(sent[2:])
    for number in range(NUM_CALLS):
        said, result = next(history), next(history)
        assert said["content"] == f"Step {number}. "
        assert said["tool_calls"][0]["id"] == result["tool_call_id"] == f"call_{number}"
        assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == inputs(number)
        text = str(result["content"])
        assert [f"line {number}\n\ttab" in text, f"part {number}" in text, f"no such file {number}" in text] == [
            number % 5 == kind for kind in range(3)
        ]
        assert ("error" in text) == (number % 5 == 2)
        if number % 5 == 3:
            shown = next(history)
            assert shown["role"] == "user" and shown["content"][1]["image_url"]["url"].endswith(PNG)
    assert not list(history)


@pytest.mark.parametrize("streamed", [False, True])
def test_before_gemini_every_part_arrives_signed(start: Starter, streamed: bool) -> None:
    fake, router = running(start, "gemini", GEMINI)
    with client_of(router) as client:
        messages = loop(client, streamed)
    assert messages[-1]["content"][0]["text"] == END and len(fake.seen) == NUM_CALLS + 1
    contents = fake.seen[-1].body["contents"]
    assert [next(iter(part)) for part in contents[0]["parts"]] == ["text", "inlineData", "inlineData"]
    for number in range(NUM_CALLS):
        said, result = contents[2 * number + 1]["parts"], contents[2 * number + 2]["parts"]
        assert said[0] == {"text": f"Step {number}. "} and said[1]["functionCall"]["args"] == inputs(number)
        assert said[1]["thoughtSignature"] == signature(number)
        response = result[0]["functionResponse"]["response"]
        expected: list[Any] = [
            {"result": f"line {number}\n\ttab"},
            {"result": f"part {number}second part"},
            {"error": f"no such file {number}"},
            {"result": f"seen {number}"},
            {"result": ""},
        ]
        assert response == expected[number % 5]
        assert (len(result) == 2) == (number % 5 == 3)
    assert len(contents) == 2 * NUM_CALLS + 1
