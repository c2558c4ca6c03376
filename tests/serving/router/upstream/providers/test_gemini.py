"""Gemini's API, faked in its exact format behind the router and called by OpenAI's client before it."""

from typing import Any

import openai
import pytest

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import ChatStreamParser
from p2l.serving.router.upstream.providers.gemini_request import SAFETY, build_request
from p2l.serving.router.upstream.providers.gemini_response import Translator, parse_completion
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, model, stream

GEMINI = ModelConfig("gemini-1.5-pro-002", "gemini", 2.0, api_key="AIza", temp=0.7, top_p=0.9, top_k=40)
HELLO = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
USAGE = {"promptTokenCount": 8, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 15}


def content(*parts: dict[str, Any], finish: str | None = "STOP", **rest: Any) -> dict[str, Any]:
    """An answer, or an event of a stream, as Gemini sends it."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": USAGE,
        "modelVersion": "gemini-1.5-pro-002",
        "responseId": "r1",
        **rest,
    }


CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"}


def body_of(**fields: Any) -> dict[str, Any]:
    return build_request(GEMINI, {"messages": HELLO, **fields}, False, False).body


def test_legacy_functions_are_reported_as_dropped() -> None:
    old = {"functions": [{"name": "weather"}], "function_call": "auto"}
    assert build_request(GEMINI, {"messages": HELLO, **old}, False, False).dropped == ("function_call", "functions")


def test_the_call() -> None:
    call = build_request(GEMINI, {"messages": HELLO}, False, False)
    assert call.url == "https://generativelanguage.googleapis.com/v1beta/models/gemini-1.5-pro-002:generateContent"
    assert call.headers == {"x-goog-api-key": "AIza"}  # never in the URL, which is logged everywhere
    assert call.body == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"maxOutputTokens": 8192, "temperature": 0.7, "topP": 0.9, "topK": 40},
        "safetySettings": SAFETY,
    }
    assert build_request(GEMINI, {"messages": HELLO}, True, True).url.endswith(":streamGenerateContent?alt=sse")


def test_what_the_client_sets_wins() -> None:
    body = body_of(temperature=0, max_completion_tokens=5, stop=["a"], seed=3, presence_penalty=0.5, n=2)
    assert body["generationConfig"] == {
        "maxOutputTokens": 5,
        "temperature": 0,
        "topP": 0.9,
        "topK": 40,
        "stopSequences": ["a"],
        "seed": 3,
        "presencePenalty": 0.5,
        "candidateCount": 2,
    }


def test_what_is_configured_stays_beside_what_the_client_sets() -> None:
    thinking = {"thinkingConfig": {"thinkingBudget": 0}}
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_LOW_AND_ABOVE"}]
    extra = {"generationConfig": {**thinking, "maxOutputTokens": 9, "temperature": 0.1}, "safetySettings": safety}
    model = ModelConfig("g", "gemini", 2.0, extra_fields=extra)
    body = build_request(model, {"messages": HELLO}, False, False).body
    assert body["generationConfig"] == {**thinking, "maxOutputTokens": 9, "temperature": 0.1}
    assert body["safetySettings"] == safety
    asked = build_request(model, {"messages": HELLO, "max_tokens": 5, "temperature": 1}, False, False).body
    assert asked["generationConfig"] == {**thinking, "maxOutputTokens": 5, "temperature": 1}


def test_system_and_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    body = body_of(messages=[{"role": "system", "content": "s"}, *HELLO], response_format=wanted)
    assert body["systemInstruction"] == {"parts": [{"text": "s"}]}
    assert body["generationConfig"]["responseMimeType"] == "application/json"
    assert body["generationConfig"]["responseJsonSchema"] == schema


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        ({"type": "image_url", "image_url": {"url": "https://x/i.png"}}, {"fileData": {"fileUri": "https://x/i.png"}}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
        ),
    ],
)
def test_parts(part: dict[str, Any], expected: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": [part]}]
    assert body_of(messages=messages)["contents"] == [{"role": "user", "parts": [expected]}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tools(choice: object, expected: object) -> None:
    body = body_of(tools=TOOLS, tool_choice=choice)
    declared = {"name": "weather", "parametersJsonSchema": {"type": "object", "properties": {}}}
    assert body["tools"] == [{"functionDeclarations": [declared]}]
    assert body["toolConfig"] == {"functionCallingConfig": expected}


def test_a_call_and_its_result_go_back_with_the_signature() -> None:
    call = parse_completion(content(CALL))["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sun"},
    ]
    assert body_of(messages=messages)["contents"][1:] == [
        {"role": "model", "parts": [CALL]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "sun"}}}]},
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    assert parse_completion(content({"text": "x"}, finish=reason))["choices"][0]["finish_reason"] == finish
    assert parse_completion(content(CALL))["choices"][0]["finish_reason"] == "tool_calls"


def test_answers() -> None:
    whole = parse_completion(content({"text": "hm", "thought": True}, {"text": "Hel"}, {"text": "lo"}))
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hello", "hm")
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"], whole["usage"]["total_tokens"]) == (
        8,
        7,
        15,
    )
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    blocked = parse_completion({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8}})
    assert blocked["choices"][0]["finish_reason"] == "content_filter"


def test_a_result_of_no_call_is_refused() -> None:
    with pytest.raises(ApiError, match="tool_call_id"):
        body_of(messages=[*HELLO, {"role": "tool", "tool_call_id": "x", "content": "y"}])


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ({"id": ["c"]}, {}),
        ({"id": {}}, {}),
        ({}, {"tool_call_id": ["c"]}),
        ({"extra_content": "x"}, {}),
        ({"extra_content": ["x"]}, {}),
        ({"extra_content": {"google": "x"}}, {}),
    ],
)
def test_calls_of_another_form_are_refused(call: dict[str, Any], result: dict[str, Any]) -> None:
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, **call}
    answered = {"role": "tool", "tool_call_id": "c", "content": "y", **result}
    with pytest.raises(ApiError, match=r"must be (text|an object)") as error:
        body_of(messages=[*HELLO, {"role": "assistant", "tool_calls": [made]}, answered])
    assert error.value.status == 400


def test_over_the_wire(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(body=content({"text": "Hello"})))
    client = start.client(start.router({"g": model(fake.url, type="gemini", api_key="AIza-1")}))
    got = client.chat.completions.create(model="-", messages=HELLO)
    assert got.choices[0].message.content == "Hello" and got.usage is not None and got.usage.total_tokens == 15
    assert fake.seen[-1].path == "/v1beta/models/wire-name:generateContent"
    assert fake.seen[-1].headers["x-goog-api-key"] == "AIza-1"


def test_streams_over_the_wire(start: Starter) -> None:
    events = [
        content({"text": "Hel"}, finish=None),
        content({"text": "lo"}, finish=None),
        content(CALL),
        content({"text": ""}),
    ]
    fake = start.upstream(lambda seen: stream(*events[:3], done=False))
    client = start.client(start.router({"g": model(fake.url, type="gemini")}))
    with client.chat.completions.stream(model="-", messages=HELLO, stream_options={"include_usage": True}) as got:
        for _ in got:
            pass
        final = got.get_final_completion()
    assert final.choices[0].message.content == "Hello" and final.choices[0].finish_reason == "tool_calls"
    assert [c.function.arguments for c in final.choices[0].message.tool_calls or ()] == ['{"city":"Rome"}']
    assert final.usage is not None and final.usage.total_tokens == 15


def of_candidate(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
    event = content({"text": text}, finish=finish)
    event["candidates"][0]["index"] = index
    return event


def test_a_stream_of_several_ends_with_the_last_of_them() -> None:
    events = [
        of_candidate(0, "a"),
        of_candidate(1, "b"),
        of_candidate(0, "", "STOP"),
        of_candidate(1, "c", "STOP"),
        of_candidate(0, ""),
    ]
    for num_events in range(len(events) + 1):
        parser = ChatStreamParser(Translator())
        chunks = [chunk for event in events[:num_events] for chunk in parser.parse(event, b"")]
        assert not any("usage" in chunk for chunk in chunks)
        if num_events < 4:
            with pytest.raises(UpstreamError, match="cut_off"):
                list(parser.finish(saw_done=False, num_choices=2))
        else:
            assert [chunk["usage"]["total_tokens"] for chunk in parser.finish(saw_done=False, num_choices=2)] == [15]


def test_a_stream_that_is_cut_off(start: Starter) -> None:
    fake = start.upstream(lambda seen: stream(content({"text": "Hel"}, finish=None), done=False))
    client = start.client(start.router({"g": model(fake.url, type="gemini")}))
    with pytest.raises(openai.APIError, match="ended before"):
        list(client.chat.completions.create(model="-", messages=HELLO, stream=True))


def test_a_bad_router_key_is_not_the_clients_fault(start: Starter) -> None:
    body = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}
    fake = start.upstream(lambda seen: Reply(400, body))
    client = start.client(start.router({"g": model(fake.url, type="gemini")}))
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model="-", messages=HELLO)
    assert error.value.status_code == 502 and "not valid" not in str(error.value)
