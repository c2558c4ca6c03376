"""Fields of a request with values of any type: sent on, or a 400; no translation fails inside, none guesses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2l.serving.http.api_error import ApiError
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.accounts.pricing import cost_to_reserve
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.config.server_config import ModelConfig, Prices
from p2l.serving.router.selection.capabilities import requirements_of
from p2l.serving.router.upstream.model_client import build_request
from p2l.serving.router.upstream.providers.registry import PROVIDERS
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import HELLO

THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
MODELS = [
    ModelConfig("gpt-4o", "openai", 1.0, prices=Prices(1.0, 1.0)),
    ModelConfig("o3", "openai-reasoning", 1.0),
    ModelConfig("claude-sonnet-4-5", "anthropic", 1.0, extra_fields=THINKING),
    ModelConfig("claude-opus-4-7", "anthropic", 1.0, max_tokens=500),
    ModelConfig("gemini-3-pro", "gemini", 1.0),
    ModelConfig("gemini-2.5-flash", "gemini", 1.0),
]
ATOMS = st.sampled_from([None, True, 0, 1, -1, 2.5, 10**30, "", "x", "user", "text", "function", "auto", "high"])
FIELDS = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "function",
        "name",
        "arguments",
        "id",
        "tool_calls",
        "json_schema",
    ]
)
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=3), max_leaves=6
)
NAMES = [
    *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "n", "stop", "seed", "user", "metadata"),
    *("tools", "tool_choice", "parallel_tool_calls", "functions", "response_format", "reasoning_effort", "thinking"),
    *(
        "service_tier",
        "modalities",
        "web_search_options",
        "logprobs",
        "stream_options",
        "verbosity",
        "cost",
        "messages",
    ),
    *("presence_penalty", "safety_identifier", "direct_model", "stream"),
]
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system", "function", "x"])},
        optional={"content": VALUES, "tool_calls": VALUES, "tool_call_id": VALUES, "name": VALUES}
        | {"function_call": VALUES, "thinking_blocks": VALUES, "cache_control": VALUES, "refusal": VALUES},
    ),
    max_size=3,
)


def refusals(body: Any) -> Iterator[ApiError]:
    """The errors of a request at each model."""
    try:
        request = parse_chat_request(body, {})
    except ApiError as error:
        yield error
        return
    requirements_of(request)
    for entry in MODELS:
        cost_to_reserve(entry, request.as_chat)
        try:
            dump_json(build_request(entry, request).body)
        except ApiError as error:
            yield error


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(MESSAGES, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_no_value_fails_inside(messages: list[Any], fields: dict[str, Any]) -> None:
    found = list(refusals({"messages": [*HELLO, *messages], **fields}))
    assert all(error.status == 400 and error.message for error in found)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "0.5"},
        {"top_p": [0.5]},
        {"top_k": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "any-word"},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": 1},
        {"messages": [*HELLO, {"role": "critic", "content": "no"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_nothing_is_guessed(kind: Any, fields: dict[str, Any]) -> None:
    if kind == "gemini" and fields.keys() & {"temperature", "top_p", "top_k"}:
        return  # sent as it is: the vendor refuses it
    with pytest.raises(ApiError):
        PROVIDERS["chat"][kind].build_request(
            ModelConfig("m", kind, 1.0), {"messages": HELLO, **fields}, False, False, {}
        )


def test_a_fault_of_the_translation_is_the_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> Any:
        raise KeyError("a fault")

    monkeypatch.setitem(PROVIDERS["chat"], "gemini", replace(PROVIDERS["chat"]["gemini"], build_request=broken))
    with pytest.raises(UpstreamError) as raised:
        build_request(ModelConfig("m", "gemini", 1.0), parse_chat_request({"messages": HELLO}, {}))
    assert raised.value.status == 500 and not raised.value.model_fault and "a fault" not in raised.value.message


@pytest.mark.parametrize("refusal", [5, [], {"text": "no"}, True])
def test_a_refusal_is_text(refusal: Any) -> None:
    messages = [*HELLO, {"role": "assistant", "content": None, "refusal": refusal}, *HELLO]
    with pytest.raises(ApiError, match="refusal must be text"):
        parse_chat_request({"messages": messages}, {})
