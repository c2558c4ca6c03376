"""Nothing of a request disappears unnamed: what does not change the provider's request is in ``dropped``."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.config.server_config import ModelConfig, ProviderType
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply

MARK = {"cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": "1"}'}, **MARK}
PNG = "data:image/png;base64,AAAA"
BODY: dict[str, Any] = {
    "model": "-",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Long rules", **MARK}], "name": "boss"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "hi", **MARK},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}, **MARK},
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
                    **MARK,
                },
            ],
        },
        {"role": "assistant", "content": "x", "refusal": "no", "tool_calls": [CALL], "annotations": [{"url": "u"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42", **MARK},
        {"role": "assistant", "content": "y", "reasoning_content": "hm", "audio": {"id": "a"}},
        {"role": "user", "content": "more"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True, "hint": 1},
            **MARK,
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "what it is for", "schema": SCHEMA, "strict": True},
    },
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_k": 5,
    "max_completion_tokens": 3000,
    "stop": ["x"],
    "seed": 3,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "logit_bias": {"5": 1},
    "service_tier": "flex",
    "verbosity": "low",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "metadata": {"user_id": "u", "trace": "t"},
    "store": True,
    "prediction": {"type": "content", "content": "x"},
    "unheard_of": {"x": 1},
}
# labels without a meaning of their own, and what the router itself reads
QUIET = {
    "model",
    "messages.content.type",  # of the system's text
    "tools.type",
    "tool_choice.type",
    "messages.tool_calls.type",
    "response_format.json_schema.name",
    "response_format.json_schema.strict",  # a schema is always kept to
    "messages.refusal",  # beside content
}
MODELS = {
    "anthropic": ModelConfig("claude-sonnet-4-5", "anthropic", 1.0),
    "old claude": ModelConfig("claude-3-5-sonnet-20241022", "anthropic", 1.0),
    "new claude": ModelConfig("claude-opus-5", "anthropic", 1.0),
    "gemini": ModelConfig("gemini-3-pro", "gemini", 1.0),
    "openai": ModelConfig("gpt-4o", "openai", 1.0),
    "gpt-5": ModelConfig("gpt-5", "openai", 1.0),
    "openai-reasoning": ModelConfig("o3", "openai-reasoning", 1.0),
}


def paths(value: Any, names: tuple[str, ...] = (), keys: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the name and the place of every key of a body outside schemas and parameters."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, names, (*keys, index))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield ".".join((*names, name)), (*keys, name)
            if name not in ("parameters", "schema", "cache_control", "logit_bias", "unheard_of", "prediction"):
                yield from paths(inner, (*names, name), (*keys, name))


def at(body: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        body = body[key]
    return body


def built(entry: ModelConfig, body: dict[str, Any]) -> tuple[Any, set[str]]:
    body = copy.deepcopy(body)
    if entry.name.startswith("claude-3"):
        body.pop("response_format")  # such a model is not chosen for it
    request = PROVIDERS["chat"][entry.type].build_request(entry, body, False, False, {})
    return request.body, set(request.dropped)


def is_named(path: str, dropped: set[str]) -> bool:
    """Whether a path is named, or a field in which it is."""
    return any(path == name or path.startswith(f"{name}.") for name in dropped)


def silent_fields(build: Callable[[Any], tuple[Any, set[str]]], body: Any) -> tuple[set[str], set[str]]:
    """The paths of the fields without which the same is sent, and the paths that are named."""
    (whole, dropped), silent = build(body), set()
    for name, place in paths(body):
        less = copy.deepcopy(body)
        del at(less, place[:-1])[place[-1]]
        try:
            without, _ = build(less)
        except (ApiError, KeyError):  # needed: its absence is an error
            continue
        if without == whole:
            silent.add(name)
    return silent, dropped


@pytest.mark.parametrize("entry", MODELS.values(), ids=list(MODELS))
def test_a_field_without_effect_is_named(entry: ModelConfig) -> None:
    silent, dropped = silent_fields(partial(built, entry), BODY)
    silent = {name for name in silent - QUIET if not is_named(name, dropped)}
    assert not {name for name in silent if not (entry.name.startswith("claude-3") and "response_format" in name)}


@given(data=st.data(), name=st.from_regex(r"x_[a-z]{1,8}", fullmatch=True))
def test_a_field_that_nobody_knows_is_named_or_sent(data: st.DataObject, name: str) -> None:
    entry = data.draw(st.sampled_from(list(MODELS.values())))
    places = [place for _, place in paths(BODY) if isinstance(at(BODY, place), dict) and "cache_control" not in place]
    place = data.draw(st.sampled_from([p for p in places if p[-1] not in ("parameters", "schema")]))
    body = copy.deepcopy(BODY)
    at(body, place)[name] = "y"
    if entry.name.startswith("claude-3") and "response_format" in place:
        return
    request, dropped = built(entry, body)
    path = ".".join(str(key) for key in (*place, name) if isinstance(key, str))
    ancestors = {path.rsplit(".", cut)[0] for cut in range(1, path.count(".") + 1)} | {path}
    assert ancestors & dropped or f"'{name}': 'y'" in str(request)


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_the_header_names_them(start: Starter, kind: ProviderType) -> None:
    parts: dict[str, Any] = {
        "anthropic": {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"},
        "gemini": {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
    }
    _, client = start.one(lambda seen: Reply(body=parts[kind]), type=kind)
    content: Any = [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]
    got = client.chat.completions.with_raw_response.create(
        model="-", messages=[{"role": "user", "content": content}], verbosity="low", service_tier="priority", n=1
    )
    assert got.headers["x-p2l-dropped"] == "messages.content.image_url.detail, service_tier, verbosity"


@pytest.mark.parametrize(("kind", "marks"), [("anthropic", []), ("gemini", ["messages.content.cache_control"])])
def test_fields_of_the_system_and_of_legacy_results_are_named(kind: ProviderType, marks: list[str]) -> None:
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "name": "sys", "content": [{"type": "text", "text": "be", "cache_control": mark}]},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1", "audio": {"id": "a"}},
    ]
    _, dropped = built(ModelConfig("m", kind, 1.0), {"messages": messages})
    assert dropped == {*marks, "messages.name", "messages.audio"}


def test_what_asks_for_nothing_is_not_named() -> None:
    body = {
        "messages": [{"role": "user", "content": "hi", "audio": None, "annotations": []}],
        "modalities": ["text"],
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "logprobs": False,
        "store": False,
        "presence_penalty": 0,
        "response_format": {"type": "text"},
    }
    for entry in MODELS.values():
        assert built(entry, body)[1] == set(), entry.name


class TestCacheBreakpoints:
    def test_anthropic_has_them_where_they_stand(self) -> None:
        body, dropped = built(MODELS["anthropic"], BODY)
        assert body["system"] == [{"type": "text", "text": "Long rules", **MARK}]
        assert body["tools"][0]["cache_control"] == MARK["cache_control"] and body["tools"][0]["strict"] is True
        first, assistant, results = body["messages"][:3]
        assert all(block["cache_control"] == MARK["cache_control"] for block in first["content"])
        assert assistant["content"][-1]["cache_control"] == MARK["cache_control"]
        assert results["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "42", **MARK}]
        assert not [name for name in dropped if "cache_control" in name]

    def test_a_mark_on_a_message_is_on_its_last_part(self) -> None:
        messages = [{"role": "system", "content": "rules", **MARK}, {"role": "user", "content": "hi", **MARK}]
        body, _ = built(MODELS["anthropic"], {"messages": messages})
        assert body["system"] == [{"type": "text", "text": "rules", **MARK}]
        assert body["messages"][0]["content"] == [{"type": "text", "text": "hi", **MARK}]

    def test_openai_itself_never_sees_other_vendors_fields(self) -> None:
        body, dropped = built(MODELS["openai"], BODY)
        assert "cache_control" not in str(body) and "reasoning_content" not in str(body)
        assert dropped == {
            "messages.cache_control",
            "messages.content.cache_control",
            "messages.reasoning_content",
            "messages.tool_calls.cache_control",
            "tools.cache_control",
        }

    def test_a_compatible_server_sees_them_all(self, start: Starter) -> None:
        fake, client = start.one()
        messages: Any = BODY["messages"]
        client.chat.completions.create(model="-", messages=messages)
        assert fake.seen[-1].body["messages"] == messages


def test_models_of_old_families_get_no_strict() -> None:
    body, dropped = built(MODELS["old claude"], BODY)
    assert "strict" not in body["tools"][0] and "tools.function.strict" in dropped


def test_configured_tools_stay_beside_the_clients() -> None:
    own = [{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {"type": "object"}}]
    entry = ModelConfig("claude-sonnet-4-5", "anthropic", 1.0, extra_fields={"tools": own})
    body, _ = built(entry, BODY)
    assert [tool["name"] for tool in body["tools"]] == ["web_search", "f"]
    assert body["tools"][1]["input_schema"] == SCHEMA  # the client's, of the same name
    assert built(entry, {"messages": BODY["messages"][-1:]})[0]["tools"] == own
    entry = ModelConfig("gemini-3-pro", "gemini", 1.0, extra_fields={"tools": [{"googleSearch": {}}]})
    assert [list(tool) for tool in built(entry, BODY)[0]["tools"]] == [["googleSearch"], ["functionDeclarations"]]
    web = {"type": "web_search"}
    entry = ModelConfig("gpt-4o", "openai", 1.0, extra_fields={"tools": [web]})
    assert [tool["type"] for tool in built(entry, BODY)[0]["tools"]] == ["web_search", "function"]


def test_a_function_of_the_client_replaces_a_configured_one_at_gemini() -> None:
    own = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}, {"functionDeclarations": [{"name": "f"}]}]
    entry = ModelConfig("gemini-3-pro", "gemini", 1.0, extra_fields={"tools": [*own, {"googleSearch": {}}]})
    body = {"messages": BODY["messages"][1:2], "tools": [{"type": "function", "function": {"name": "f"}}]}
    tools = PROVIDERS["chat"]["gemini"].build_request(entry, body, False, False, {}).body["tools"]
    assert tools == [
        {"functionDeclarations": [{"name": "g"}]},
        {"googleSearch": {}},
        {"functionDeclarations": [{"name": "f"}]},
    ]
