"""Anthropic's API, faked in its exact format behind the router and called by OpenAI's client before it."""

import json
from typing import Any

import openai
import pytest

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.anthropic_request import build_request
from p2l.serving.router.upstream.providers.anthropic_response import Translator, parse_completion
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Seen, model, stream

CLAUDE = ModelConfig(
    "claude-3-5-sonnet-20241022", "anthropic", 9.3, api_key="sk-ant", max_tokens=8192, temp=0.7, top_p=0.7
)
HELLO = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
FUNCTION = {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]

MESSAGE = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-3-5-sonnet-20241022",
    "content": [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "weather", "input": {"city": "Rome"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 7},
}


def event(kind: str, **rest: Any) -> dict[str, Any]:
    return {"type": kind, **rest}


EVENTS = [
    event(
        "message_start",
        message={**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 10, "output_tokens": 1}},
    ),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Let me "}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "look."}),
    event("content_block_stop", index=0),
    event(
        "content_block_start",
        index=1,
        content_block={"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    ),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": ""}),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"city": '}),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '"Rome"}'}),
    event("content_block_stop", index=1),
    event(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
    ),
    event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": "{}"}),
    event("content_block_stop", index=2),
    event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 15}),
    event("message_stop"),
]


def body_of(**fields: Any) -> dict[str, Any]:
    return build_request(CLAUDE, {"messages": HELLO, **fields}, False, False).body


def test_the_call() -> None:
    call = build_request(CLAUDE, {"messages": HELLO}, False, False)
    assert call.url == "https://api.anthropic.com/v1/messages"
    assert call.headers == {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant"}
    assert call.body == {
        "model": "claude-3-5-sonnet-20241022",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "max_tokens": 8192,
        "temperature": 0.7,
        "top_p": 0.7,
    }


def test_what_the_client_sets_wins() -> None:
    body = body_of(temperature=0, top_p=0, max_tokens=5, stop="END", user="u")
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0, 0, 5)
    assert body["stop_sequences"] == ["END"] and body["metadata"] == {"user_id": "u"}
    assert body_of(temperature=1.8)["temperature"] == 1


def test_system_prompts() -> None:
    messages = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        *HELLO,
    ]
    assert body_of(messages=messages)["system"] == "a\n\nb"
    configured = ModelConfig("c", "anthropic", 1.0, system_prompt="s")
    assert build_request(configured, {"messages": HELLO}, False, False).body["system"] == "s"


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.org/i.png"}},
            {"type": "image", "source": {"type": "url", "url": "https://x.org/i.png"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "a.pdf",
            },
        ),
        (
            {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
        ),
    ],
)
def test_parts(part: dict[str, Any], block: dict[str, Any]) -> None:
    assert body_of(messages=[{"role": "user", "content": [part]}])["messages"] == [{"role": "user", "content": [block]}]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "weather"}}, None, {"type": "tool", "name": "weather"}),
    ],
)
def test_tools(choice: object, parallel: bool | None, expected: object) -> None:
    body = body_of(tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel)
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "weather", "description": "d", "input_schema": schema}]
    assert body.get("tool_choice") == expected


def test_turns_alternate_and_hold_the_results_of_tools() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "weather", "arguments": f'{{"i": {i}}}'}}
        for i in (1, 2)
    ]
    messages = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "snow"}]},
        {"role": "user", "content": "and?"},
    ]
    assert body_of(messages=messages)["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": f"c{i}", "name": "weather", "input": {"i": i}} for i in (1, 2)],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sun"},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "snow"}]},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": "only"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": TOOLS, "tool_choice": {"type": "function"}},
        {"stop": [1]},
    ],
)
def test_inexpressible_fields_are_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as error:
        body_of(**fields)
    assert error.value.status == 400


def test_dropped_fields_are_reported() -> None:
    assert build_request(
        CLAUDE, {"messages": HELLO, "seed": 1, "logit_bias": {}, "user": "u"}, False, False
    ).dropped == (
        "logit_bias",
        "seed",
    )


def test_legacy_functions_are_reported_as_dropped() -> None:
    old = {"functions": [{"name": "weather"}], "function_call": "auto"}
    assert build_request(CLAUDE, {"messages": HELLO, **old}, False, False).dropped == ("function_call", "functions")


def test_answers() -> None:
    whole = parse_completion(MESSAGE)
    message = whole["choices"][0]["message"]
    assert message["content"] == "Let me look."
    assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert whole["choices"][0]["finish_reason"] == "tool_calls" and whole["id"] == MESSAGE["id"]
    assert whole["usage"]["prompt_tokens"] == 15 and whole["usage"]["completion_tokens"] == 7
    assert whole["usage"]["total_tokens"] == 22 and whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter")],
)
def test_stop_reasons(reason: str, finish: str) -> None:
    assert parse_completion({**MESSAGE, "content": [], "stop_reason": reason})["choices"][0]["finish_reason"] == finish


def test_thoughts_are_kept_apart() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]
    message = parse_completion({**MESSAGE, "content": blocks})["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("yes", "hm")
    translator = Translator()
    list(translator.translate(event("message_start", message={"id": "m", "model": "c"})))
    list(
        translator.translate(event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}))
    )
    delta = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    assert next(translator.translate(delta))["choices"][0]["delta"] == {"reasoning_content": "hm"}


def test_over_the_wire(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=MESSAGE))
    client = start.client(start.router({"claude": model(fake.url, type="anthropic", api_key="sk-ant-1")}))
    got = client.chat.completions.create(model="-", messages=HELLO, tools=TOOLS)
    assert got.choices[0].message.tool_calls is not None and got.model_dump()["router_outputs"] == {"claude": 1.0}
    assert fake.seen[-1].path == "/v1/messages" and fake.seen[-1].headers["x-api-key"] == "sk-ant-1"
    assert "authorization" not in fake.seen[-1].headers


def test_streams_over_the_wire(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(*EVENTS, done=False, named=True))
    client = start.client(start.router({"claude": model(fake.url, type="anthropic")}))
    options = {"include_usage": True}
    with client.chat.completions.stream(model="-", messages=HELLO, tools=TOOLS, stream_options=options) as events:
        for _ in events:
            pass
        got = events.get_final_completion()
    choice = got.choices[0]
    assert choice.message.content == "Let me look." and choice.finish_reason == "tool_calls"
    calls = [(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()]
    assert calls == [("toolu_1", "weather", '{"city": "Rome"}'), ("toolu_2", "weather", "{}")]
    assert got.usage is not None and (got.usage.prompt_tokens, got.usage.completion_tokens) == (10, 15)
    assert fake.seen[-1].body["stream"] is True


def test_an_error_in_mid_stream(start: Starter) -> None:
    overloaded = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    fake = start.upstream(lambda seen: stream(*EVENTS[:4], overloaded, done=False, named=True))
    client = start.client(start.router({"claude": model(fake.url, type="anthropic")}))
    with pytest.raises(openai.APIError, match="overloaded"):
        list(client.chat.completions.create(model="-", messages=HELLO, stream=True))


def test_a_refusal_of_the_request_is_passed_on(start: Starter) -> None:
    def refuse(seen: Seen) -> Reply:
        return Reply(
            400, {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}}
        )

    fake = start.upstream(refuse)
    client = start.client(start.router({"claude": model(fake.url, type="anthropic")}))
    with pytest.raises(openai.BadRequestError, match="max_tokens: too large"):
        client.chat.completions.create(model="-", messages=HELLO, max_tokens=10**9)
    assert len(fake.seen) == 1
    with pytest.raises(openai.InternalServerError, match="what the router sets: max_tokens"):
        client.chat.completions.create(model="-", messages=HELLO)


def test_a_character_in_two_pieces_of_a_block_that_waits_for_another(start: Starter) -> None:
    def piece(text: str) -> dict[str, Any]:
        return event("content_block_delta", index=1, delta={"type": "text_delta", "text": text})

    second = [event("content_block_start", index=1, content_block={"type": "text", "text": ""})]
    halves = [piece("\ud83d"), piece("\ude00"), event("content_block_stop", index=1)]
    raw = [json.dumps(e).encode() for e in (*EVENTS[:2], *second, *halves, *EVENTS[5:6], *EVENTS[-2:])]
    fake = start.upstream(lambda seen: stream(*raw, done=False))
    client = start.client(start.router({"claude": model(fake.url, type="anthropic")}))
    chunks = client.chat.completions.create(model="-", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "😀"
