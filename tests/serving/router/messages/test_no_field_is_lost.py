"""Nothing of a request in Anthropic's API disappears unnamed, whichever provider gets it."""

import copy
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from p2l.serving.router.api.parse_messages import parse_messages_request
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.model_client import build_request
from tests.serving.router.upstream.providers import test_unknown_fields as chats
from tests.serving.router.upstream.providers.test_unknown_fields import at, paths, silent_fields

MARK = {"cache_control": {"type": "ephemeral"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
BODY: dict[str, Any] = {
    "model": "-",
    "max_tokens": 3000,
    "system": [{"type": "text", "text": "Long rules", **MARK}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi", **MARK},
                {"type": "image", "source": PNG, **MARK},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
                    "title": "t",
                    "context": "c",
                    "citations": {"enabled": True},
                    **MARK,
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "CC"},
                    "title": "u",
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "r"},
                {"type": "text", "text": "x", "citations": [{"type": "char_location"}]},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "1"}, "caller": {"type": "code"}, **MARK},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {"a": "2"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "42", "is_error": True, **MARK},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "image", "source": PNG, **MARK}]},
                {"type": "text", "text": "Go on"},
            ],
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "unsigned", "signature": ""}]},
        {"role": "user", "content": "more"},
    ],
    "tools": [
        {
            "name": "f",
            "description": "d",
            "input_schema": SCHEMA,
            "strict": True,
            "input_examples": [{"a": "1"}],
            "eager_input_streaming": True,
            **MARK,
        }
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u", "trace": "t"},
    "service_tier": "standard_only",
    "speed": "fast",
    "context_management": {"edits": [{"type": "clear"}]},
    "inference_geo": "us",
    "unheard_of": {"x": 1},
}
# labels without a meaning of their own, and what the effort stands for
QUIET = {
    "model",
    "messages.content.source.media_type",  # of plain text
    "messages.content.signature",  # an empty one
    "thinking.budget_tokens",  # the effort is given, too
    "thinking.type",
    "thinking",
    "output_config.format.type",
}
MODELS = {
    "claude": ModelConfig("claude-sonnet-4-5", "anthropic", 1.0),
    "gemini": ModelConfig("gemini-3-pro", "gemini", 1.0),
    "openai": ModelConfig("gpt-4o", "openai", 1.0),
    "gpt-5": ModelConfig("gpt-5", "openai", 1.0),
    "openai-reasoning": ModelConfig("o3", "openai-reasoning", 1.0),
    "vllm": ModelConfig("qwen", "openai", 1.0, base_url="http://localhost:1"),
}


def built(entry: ModelConfig, body: dict[str, Any]) -> tuple[Any, set[str]]:
    request = build_request(entry, parse_messages_request(copy.deepcopy(body), Headers({})))
    return request.body, set(request.dropped)


def is_named(path: str, dropped: set[str]) -> bool:
    """Whether a path is named, or a field in which it is; marks of caches have one name, wherever they stand."""
    path = "messages.content.cache_control" if "cache_control" in path and "tools" not in path else path
    return chats.is_named(path, dropped)


@pytest.mark.parametrize("entry", MODELS.values(), ids=list(MODELS))
def test_a_field_without_effect_is_named(entry: ModelConfig) -> None:
    silent, dropped = silent_fields(partial(built, entry), BODY)
    assert not {name for name in silent - QUIET if not is_named(name, dropped)}


@given(data=st.data(), name=st.from_regex(r"x_[a-z]{1,8}", fullmatch=True))
def test_a_field_that_nobody_knows_is_named_or_sent(data: st.DataObject, name: str) -> None:
    entry = data.draw(st.sampled_from(list(MODELS.values())))
    opaque = ("cache_control", "input_schema", "schema", "input", "source", "unheard_of", "citations", "caller")
    places = [
        place
        for _, place in paths(BODY)
        if isinstance(at(BODY, place), dict) and not any(part in opaque for part in place)
    ]
    place = data.draw(st.sampled_from(places))
    body = copy.deepcopy(BODY)
    at(body, place)[name] = "y"
    is_thought = "thinking" in str(at(body, place).get("type"))
    request, dropped = built(entry, body)
    path = ".".join(str(key) for key in (*place, *(["thinking"] * is_thought or [name])) if isinstance(key, str))
    assert is_named(path, dropped) or f"'{name}': 'y'" in str(request)


def test_what_asks_for_nothing_is_not_named() -> None:
    body = {
        "max_tokens": 10,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "citations": None}]}],
        "tools": [{"name": "f", "input_schema": {}, "strict": False, "defer_loading": False}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
        "service_tier": "auto",
        "container": None,
    }
    for entry in MODELS.values():
        assert built(entry, body)[1] == set(), entry.name
