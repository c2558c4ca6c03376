"""Nothing of a request of the Responses API disappears unnamed; values of any kind are parsed or refused."""

import copy
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.api.parse_response import parse_response_request
from p2l.serving.router.api.response_events import ResponseEvents
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.chat_answer import ChatStream, check_completion, chunks_of
from p2l.serving.router.upstream.model_client import build_request
from p2l.serving.router.upstream.sealed_thoughts import seal
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.messages.test_hostile_values import ANSWER, changed
from tests.serving.router.messages.test_no_field_is_lost import MODELS
from tests.serving.router.upstream.providers import test_unknown_fields as chats
from tests.serving.router.upstream.providers.test_unknown_fields import at, paths, silent_fields

PNG = "data:image/png;base64,AAAA"
MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
BODY: dict[str, Any] = {
    "model": "-",
    "instructions": "Long rules",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi", **MARK},
                {"type": "input_image", "image_url": PNG, "detail": "high", **MARK},
                {
                    "type": "input_file",
                    "file_data": "data:application/pdf;base64,AAAA",
                    "filename": "a.pdf",
                    "detail": "low",
                },
            ],
        },
        {"role": "developer", "content": "Be brief"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "of another vendor"},
        {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "unsigned"}]},
        {"type": "reasoning", "id": "rs_p2l_3", "summary": [], "encrypted_content": seal([THOUGHT])},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation"}], "logprobs": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c1",
            "name": "f",
            "arguments": '{"a": "1"}',
            "namespace": "n",
            "extra_content": {"google": {"thought_signature": "g"}},
        },
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "patch", "input": "+ a"},
        {"type": "function_call_output", "call_id": "c1", "output": "42", "caller": {"type": "program"}},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_image", "image_url": PNG, "detail": "auto"}],
        },
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "more"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": SCHEMA,
            "strict": True,
            "defer_loading": True,
        },
        {"type": "custom", "name": "patch", "description": "e", "format": {"type": "grammar", "syntax": "lark"}},
        {"type": "namespace", "name": "n", "description": "of n", "tools": [{"type": "function", "name": "f"}]},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "detailed", "context": "all_turns"},
    "text": {
        "format": {"type": "json_schema", "name": "n", "description": "why", "schema": SCHEMA, "strict": True},
        "verbosity": "low",
    },
    "include": ["reasoning.encrypted_content", "file_search_call.results"],
    "temperature": 0.5,
    "max_output_tokens": 3000,
    "max_tool_calls": 3,
    "truncation": "auto",
    "store": True,
    "metadata": {"trace": "t"},
    "stream_options": {"include_obfuscation": True},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "context_management": [{"type": "compaction"}],
    "unheard_of": {"x": 1},
}
# labels without a meaning of their own, what asks for the form of the answer, and what is carried in another place
QUIET = {
    "model",
    "include",  # of it, what is named; the sealed thoughts are in the answer
    "input.id",
    "input.status",
    "input.summary",  # an empty one
    "input.type",
    "input.content.logprobs",  # an empty one
    "input.content.type",
    "input.summary.type",
    "input.content.annotations.type",
    "input.content.prompt_cache_breakpoint.mode",
    "reasoning",  # its fields are named
    "stream_options",  # its field is named
    "text.format.name",
    "text.format.strict",  # Gemini always keeps to a schema
    "tools.format.type",
    "tools.strict",  # the default for this schema
}
VLLM = ModelConfig("qwen", "openai", 1.0, base_url="http://localhost:1")


def built(entry: ModelConfig, body: dict[str, Any]) -> tuple[Any, set[str]]:
    request = build_request(entry, parse_response_request(copy.deepcopy(body), Headers({})))
    return request.body, set(request.dropped)


def is_named(path: str, dropped: set[str]) -> bool:
    """Whether a path is named, or a field in which it is; the parts of an output have the names of contents."""
    path = path.replace("input.output.", "input.content.")
    return chats.is_named(path, dropped)


@pytest.mark.parametrize("entry", MODELS.values(), ids=list(MODELS))
def test_a_field_without_effect_is_named(entry: ModelConfig) -> None:
    silent, dropped = silent_fields(partial(built, entry), BODY)
    assert not {name for name in silent - QUIET if not is_named(name, dropped)}


@given(data=st.data(), name=st.from_regex(r"x_[a-z]{1,8}", fullmatch=True))
def test_a_field_that_nobody_knows_is_named_or_sent(data: st.DataObject, name: str) -> None:
    entry = data.draw(st.sampled_from(list(MODELS.values())))
    opaque = ("parameters", "schema", "unheard_of", "annotations", "metadata", "extra_content", "caller", "format")
    quiet = ("context_management", "summary")
    places = [
        place
        for _, place in paths(BODY)
        if isinstance(at(BODY, place), dict) and not any(part in (*opaque, *quiet) for part in place)
    ]
    place = data.draw(st.sampled_from(places))
    body = copy.deepcopy(BODY)
    at(body, place)[name] = "y"
    request, dropped = built(entry, body)
    path = ".".join(str(key) for key in (*place, name) if isinstance(key, str))
    assert is_named(path, dropped) or f"'{name}': 'y'" in str(request)


def test_what_asks_for_nothing_is_not_named() -> None:
    body = {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": None, "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "background": False,
        "truncation": "disabled",
        "service_tier": "auto",
        "previous_response_id": None,
    }
    for entry in MODELS.values():
        assert built(entry, body)[1] == set(), entry.name


def test_the_fields_of_a_chat() -> None:
    sent, dropped = built(VLLM, BODY)
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "system", "assistant", "tool", "tool", "user", "assistant", "assistant", "user"]
    said = sent["messages"][3]
    assert said["thinking_blocks"] == [THOUGHT] and said["reasoning_content"] == "unsigned"
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == ['{"a": "1"}', '{"input":"+ a"}']
    assert [call["function"]["name"] for call in said["tool_calls"]] == ["n__f", "patch"]
    assert sent["tools"][2] == {"type": "function", "function": {"name": "n__f", "description": "of n"}}
    assert sent["tools"][1]["function"]["parameters"]["required"] == ["input"]
    assert "lark grammar" in sent["tools"][1]["function"]["description"]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert sent["response_format"]["json_schema"]["strict"] and sent["reasoning_effort"] == "low"
    assert sent["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert dropped == {
        "context_management",
        "include",
        "input.caller",
        "input.content.annotations",
        "input.content.detail",
        "input.content.prompt_cache_breakpoint.ttl",
        "input.encrypted_content",
        "input.phase",
        "max_tool_calls",
        "metadata",
        "reasoning.context",
        "reasoning.summary",
        "store",
        "stream_options.include_obfuscation",
        "tools.defer_loading",
        "tools.format",
        "truncation",
        "unheard_of",
    }


@pytest.mark.parametrize(
    ("schema", "strict", "sent"),
    [
        (SCHEMA, None, True),
        (SCHEMA, False, None),
        ({"type": "object"}, None, None),
        ({"type": "object"}, True, True),
        (None, None, None),
    ],
)
def test_tools_are_strict_by_default_if_their_schema_allows(schema: Any, strict: Any, sent: Any) -> None:
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": strict}
    assert built(VLLM, {"input": "hi", "tools": [tool]})[0]["tools"][0]["function"].get("strict") is sent


def test_allowed_tools_are_the_only_ones() -> None:
    tools: list[Any] = [{"type": "function", "name": name} for name in "abc"] + [{"type": "custom", "name": "d"}]
    tools.append({"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "a"}, tools[3]]})
    tools.append({"type": "namespace", "name": "m", "tools": [{"type": "function", "name": "b"}]})
    allowed = [{"type": "function", "name": "b"}, {"type": "custom", "name": "d"}, {"type": "namespace", "name": "n"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    sent, _ = built(VLLM, {"input": "hi", "tools": tools, "tool_choice": choice})
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["b", "d", "n__a", "n__d"]
    assert sent["tool_choice"] == "required"
    one = {"type": "function", "name": "b", "namespace": "m"}
    sent, _ = built(VLLM, {"input": "hi", "tools": tools, "tool_choice": one})
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "m__b"}}


@given(st.data(), st.sampled_from(list(MODELS.values())))
def test_a_request_is_built_or_refused(data: st.DataObject, entry: Any) -> None:
    with suppress(ApiError):
        build_request(entry, parse_response_request(changed(data, BODY), Headers({})))


@given(st.data())
def test_an_answer_is_rendered_or_the_model_s_fault(data: st.DataObject) -> None:
    body = {"input": "hi", "include": ["reasoning.encrypted_content"]}
    with suppress(UpstreamError):
        stream, events = ChatStream(), ResponseEvents(body, name="1", model="m")
        whole = check_completion(changed(data, ANSWER))
        made = [event for chunk in chunks_of(whole) for event in events.feed(stream.check(chunk))]
        assert made[0]["type"] == "response.created"
        assert [*events.end(None)][-1]["type"] in ("response.completed", "response.incomplete")
