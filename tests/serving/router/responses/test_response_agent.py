"""An agent of thirty tool calls by OpenAI's own client of the Responses API, before each provider: nothing is lost.

The router remembers no thoughts here, so that what signs them goes through the client.
"""

import json
from typing import Any

import openai
import pytest

from tests.serving.router.conformance.vendors import CLAUDE, GEMINI, PNG
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import model
from tests.serving.router.messages.test_agent_loop import END, NUM_CALLS, Model, inputs, signature

TOOL: Any = {
    "type": "function",
    "name": "read_file",
    "description": "Read a file",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}},
    "strict": False,
}
IMAGE = f"data:image/png;base64,{PNG}"
PDF = "data:application/pdf;base64,JVBERi0xLjQgeA=="
QUESTION: Any = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Read the files"},
            {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        ],
    }
]


def output_of(number: int) -> Any:
    """The output of a call: text, parts, an image or nothing."""
    kinds: list[Any] = [
        f"line {number}\n\ttab",
        [{"type": "input_text", "text": f"part {number}"}, {"type": "input_text", "text": "second part"}],
        [
            {"type": "input_text", "text": f"seen {number}"},
            {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
        ],
        "",
    ]
    return kinds[number % len(kinds)]


def loop(client: openai.OpenAI, streamed: bool) -> list[Any]:
    """Ask until no tool is called; return the whole conversation."""
    items: list[Any] = list(QUESTION)
    ask: Any = {"model": "-", "instructions": "You are a coding agent.", "tools": [TOOL], "store": False}
    ask["include"] = ["reasoning.encrypted_content"]
    while True:
        if streamed:
            with client.responses.stream(input=items, **ask) as events:
                answer: Any = events.get_final_response()
        else:
            answer = client.responses.create(input=items, **ask)
        assert answer.status == "completed"
        items += [item.to_dict() for item in answer.output]
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            return items
        (call,) = calls
        number = sum(item.get("type") == "function_call_output" for item in items)
        assert json.loads(call.arguments) == inputs(number)
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": output_of(number)})


def conversation(start: Starter, kind: str, name: str, streamed: bool) -> tuple[Any, list[Any]]:
    """The last request that the vendor got, and the items that the client has."""
    fake = start.upstream(Model(kind))
    entry = model(fake.url, type=kind, name=name, capabilities={"context_length": 1_000_000})
    client = start.client(start.router({"m": entry}, {"router": {"thoughts_ttl": 0}}, router_type="random"))
    items = loop(client, streamed)
    assert items[-1]["content"][0]["text"] == END and len(fake.seen) == NUM_CALLS + 1
    return fake.seen[-1].body, items


@pytest.mark.parametrize("streamed", [False, True])
def test_before_openai_every_item_has_its_message(start: Starter, streamed: bool) -> None:
    body, _ = conversation(start, "openai", "gpt-4.1", streamed)
    sent = body["messages"]
    assert sent[0] == {"role": "system", "content": "You are a coding agent."}
    assert [part["type"] for part in sent[1]["content"]] == ["text", "image_url", "file"]
    assert sent[1]["content"][1]["image_url"]["url"] == IMAGE
    assert sent[1]["content"][2]["file"] == {"filename": "a.pdf", "file_data": PDF}
    history = iter(sent[2:])
    for number in range(NUM_CALLS):
        said, result = next(history), next(history)
        assert said["content"] == f"Step {number}. " and list(said) == ["role", "content", "tool_calls"]
        assert said["tool_calls"][0]["id"] == result["tool_call_id"] == f"call_{number}"
        assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == inputs(number)
        text = str(result["content"])
        assert [f"line {number}\\n\\ttab" in repr(text), f"part {number}" in text, f"seen {number}" in text] == [
            number % 4 == kind for kind in range(3)
        ]
        if number % 4 == 2:
            assert next(history)["content"][1]["image_url"]["url"] == IMAGE
    assert not list(history)


@pytest.mark.parametrize("streamed", [False, True])
def test_before_anthropic_every_thought_comes_back_signed(start: Starter, streamed: bool) -> None:
    body, items = conversation(start, "anthropic", CLAUDE, streamed)
    messages = body["messages"]
    assert [block["type"] for block in messages[0]["content"]] == ["text", "image", "document"]
    for number in range(NUM_CALLS):
        thinking, redacted, text, use = messages[2 * number + 1]["content"]
        thought = {"type": "thinking", "thinking": f"thought {number}", "signature": signature(number)}
        assert thinking == thought and redacted["data"] == f"REDACTED{number}"
        assert text["text"] == f"Step {number}. " and use["input"] == inputs(number)
        (result,) = messages[2 * number + 2]["content"]
        assert result["tool_use_id"] == f"toolu_{number}"
    assert [item["summary"][0]["text"] for item in items if item.get("type") == "reasoning"] == [
        f"thought {number}" for number in range(NUM_CALLS)
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_before_gemini_every_part_arrives_signed(start: Starter, streamed: bool) -> None:
    body, _ = conversation(start, "gemini", GEMINI, streamed)
    contents = body["contents"]
    assert [next(iter(part)) for part in contents[0]["parts"]] == ["text", "inlineData", "inlineData"]
    for number in range(NUM_CALLS):
        said, result = contents[2 * number + 1]["parts"], contents[2 * number + 2]["parts"]
        assert said[0] == {"text": f"Step {number}. "} and said[1]["functionCall"]["args"] == inputs(number)
        assert said[1]["thoughtSignature"] == signature(number)
        text = result[0]["functionResponse"]["response"]["result"]
        assert text == [f"line {number}\n\ttab", f"part {number}second part", f"seen {number}", ""][number % 4]
        assert (len(result) == 2) == (number % 4 == 2)
