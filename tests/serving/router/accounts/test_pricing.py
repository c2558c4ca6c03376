"""Costs by prices, usage in each known form, and the length of an output."""

from typing import Any

import pytest

from p2l.errors import ConfigError
from p2l.serving.router.accounts.answer_tally import AnswerTally, output_characters
from p2l.serving.router.accounts.pricing import actual_cost, cost_to_reserve, price_of
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.config.server_config import ModelConfig, Prices
from p2l.serving.router.upstream.providers import anthropic_response, gemini_response
from tests.serving.router.fakes import completion, delta
from tests.serving.router.fakes_responses import message, response

PRICED = ModelConfig("m", "openai", 0.5, prices=Prices(input=2.0, output=10.0), max_tokens=1000)
FREE_FORM = ModelConfig("m", "openai", 0.5, prices=Prices(input=2.0, output=10.0))
FLAT = ModelConfig("m", "openai", 0.5)


def asking(characters: int = 0, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x" * characters}], **fields}


def tally(*parts: dict[str, Any], usage: object = None) -> AnswerTally:
    counted = AnswerTally()
    for part in parts:
        counted.add(part, usage, characters=True)
    return counted


def test_costs_to_reserve() -> None:
    assert cost_to_reserve(PRICED, asking(4 * 10**6)) == pytest.approx(2.01)
    assert cost_to_reserve(FREE_FORM, asking(4 * 10**6)) == 0.5  # the longest answer is not known
    assert cost_to_reserve(PRICED, asking(max_tokens=10)) == 0.5
    assert cost_to_reserve(FLAT, asking()) == 0.5
    assert cost_to_reserve(FLAT, asking(n=128)) == 64.0
    assert cost_to_reserve(PRICED, asking(n=128)) == 64.0  # more than 128,000 tokens cost
    assert cost_to_reserve(PRICED, asking(max_tokens=10**5, n=3)) == pytest.approx(3.0)


def test_actual_costs() -> None:
    usage = {"prompt_tokens": 10**6, "completion_tokens": 10**5}
    assert actual_cost(PRICED, asking(), tally(completion(), usage=usage), whole=True) == pytest.approx(3.0)
    assert actual_cost(PRICED, asking(), tally(completion("x" * 10**6)), whole=True) == 0.5
    assert actual_cost(FREE_FORM, asking(), tally(completion("x" * 10**6)), whole=True) == pytest.approx(2.5)
    assert actual_cost(FLAT, asking(), tally(completion(), usage=usage), whole=True) == 0.5


def test_each_choice_costs() -> None:
    three = [{**delta("x")["choices"][0], "index": index} for index in range(3)]
    asked = asking(n=128)
    assert actual_cost(FLAT, asked, tally({"choices": three}), whole=True) == 1.5  # the server made only three
    assert actual_cost(FLAT, asked, tally({"choices": three}), whole=False) == 64.0
    assert actual_cost(FLAT, asked, tally(*[{"choices": [choice]} for choice in three * 2]), whole=True) == 1.5
    assert actual_cost(FLAT, asking(), tally(completion()), whole=True) == 0.5
    assert actual_cost(FLAT, asking(), tally({"choices": []}), whole=True) == 0.5


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 100}, TokenUsage(1000, 100)),
        ({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}, TokenUsage(1000, 100)),
        ({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 0}, TokenUsage(1000, 100)),
        # thoughts outside completion_tokens: in the total, or larger than the whole
        ({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 9100}, TokenUsage(1000, 8100)),
        (
            {"prompt_tokens": 9, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 8000}},
            TokenUsage(9, 8100),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 60}},
            TokenUsage(9, 100),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 100, "reasoning_tokens": 8000}, TokenUsage(9, 8100)),
        # one of three counts is left out
        ({"prompt_tokens": 1000, "total_tokens": 9100}, TokenUsage(1000, 8100)),
        ({"completion_tokens": 100, "total_tokens": 1100, "prompt_tokens": None}, TokenUsage(1000, 100)),
        ({"prompt_tokens": 1000, "completion_tokens": "many", "total_tokens": 9100}, None),
        # numbers in other forms
        ({"prompt_tokens": 1000.0, "completion_tokens": 100.0}, TokenUsage(1000, 100)),
        ({"prompt_tokens": "1000", "completion_tokens": 99.5}, TokenUsage(1000, 100)),
        # the cache: OpenAI, Anthropic's names, DeepSeek, Moonshot, OpenRouter; in the prompt or beside it
        (
            {"prompt_tokens": 1000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 900}},
            TokenUsage(1000, 5, 900),
        ),
        ({"prompt_tokens": 1000, "completion_tokens": 5, "prompt_cache_hit_tokens": 900}, TokenUsage(1000, 5, 900)),
        ({"prompt_tokens": 1000, "completion_tokens": 5, "cached_tokens": 900}, TokenUsage(1000, 5, 900)),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 1014, "cache_read_input_tokens": 1000},
            TokenUsage(1009, 5, 1000),
        ),
        (
            {"prompt_tokens": 1000, "completion_tokens": 5, "total_tokens": 1905, "cache_read_input_tokens": 900},
            TokenUsage(1900, 5, 900),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 41,
                "cached_tokens": 7,
                "reasoning_tokens": 20,
            },
            TokenUsage(16, 25, 7),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 34,
                "cached_tokens": 7,
                "reasoning_tokens": 20,
            },
            TokenUsage(9, 25, 7),
        ),
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 5,
                "cache_creation_input_tokens": 700,
                "cache_creation": {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 100},
            },
            TokenUsage(1000, 5, 0, 700, 100),
        ),
        (
            {"prompt_tokens": 1000, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": 700}},
            TokenUsage(1000, 5, 0, 700),
        ),
        # no usage
        (None, None),
        ([], None),
        ({"prompt_tokens": 5}, None),
        ({"prompt_tokens": 5, "completion_tokens": None}, None),
        ({"prompt_tokens": -5, "completion_tokens": 5}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ({"prompt_tokens": float("nan"), "completion_tokens": 5}, None),
        ({"prompt_tokens": "many", "completion_tokens": 5}, None),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": None, "total_tokens": "?"},
            TokenUsage(5, 5),
        ),
    ],
)
def test_usage_in_each_form(usage: object, expected: TokenUsage | None) -> None:
    assert TokenUsage.parse(usage) == expected


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("openai", {}, 100 * 1.0 + 600 * 1.0 + 200 * 1.25 + 100 * 2.0 + 10 * 5.0),
        ("anthropic", {}, 100 * 1.0 + 600 * 0.1 + 200 * 1.25 + 100 * 2.0 + 10 * 5.0),
        ("openai", {"cached_input": 0.25}, 100 * 1.0 + 600 * 0.25 + 200 * 1.25 + 100 * 2.0 + 10 * 5.0),
        ("anthropic", {"cached_input": 0.0, "cache_write": 0.0, "cache_write_hour": 3.0}, 100 + 100 * 3.0 + 10 * 5.0),
    ],
)
def test_prices_of_the_cache(kind: Any, more: dict[str, float], expected: float) -> None:
    model = ModelConfig("m", kind, 0.5, prices=Prices(input=1.0, output=5.0, **more))
    assert price_of(model, TokenUsage(1000, 10, 600, 300, 100)) == pytest.approx(expected / 1e6)


def test_a_price_below_zero_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cached_input must be"):
        Prices(input=1.0, output=1.0, cached_input=-1.0)


def test_a_usage_that_denies_the_output_is_not_believed() -> None:
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert actual_cost(FREE_FORM, asking(), tally(completion("x" * 10**6), usage=zeros), whole=True) == 2.5
    assert actual_cost(FREE_FORM, asking(), tally(completion(""), usage=zeros), whole=True) == 0.0


def test_the_last_usage_counts_and_an_unreadable_one_does_not_replace_it() -> None:
    counted = AnswerTally()
    for usage in ({"prompt_tokens": 9, "completion_tokens": 1}, {"prompt_tokens": 9, "completion_tokens": 2}, {}):
        counted.add(delta("x"), usage, characters=True)
    assert counted.usage == TokenUsage(9, 2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (completion("four"), 4),
        (delta("four", role="assistant"), 4),
        (delta(reasoning_content="four"), 4),
        (delta(reasoning="four", reasoning_content="four"), 4),
        (delta(reasoning="four"), 4),
        (delta(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]), 3),
        (delta([{"type": "text", "text": "four"}]), 4),
        ({**delta("four"), "choices": delta("four")["choices"] * 3}, 12),
        (response(message("four")), 4),
        ({"type": "response.output_text.delta", "number": 1, "data": b"...", "delta": "four", "response": {}}, 4),
        ({"type": "response.completed", "data": b"...", "delta": None, "response": response(message("four"))}, 0),
        ({**delta(), "choices": [], "usage": {"prompt_tokens": 10**9}}, 0),
        ({"choices": [None, "x", {"delta": 5}, {"delta": {"content": {"text": 5}, "tool_calls": "x"}}]}, 1),
    ],
)
def test_output_characters(answer: dict[str, Any], expected: int) -> None:
    assert output_characters(answer) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"promptTokenCount": 1000, "thoughtsTokenCount": 8000, "totalTokenCount": 9100}, TokenUsage(1000, 8100)),
        ({"promptTokenCount": "1000", "candidatesTokenCount": "100"}, TokenUsage(1000, 100)),
        ({"promptTokenCount": 9, "toolUsePromptTokenCount": 5, "totalTokenCount": 20}, TokenUsage(14, 6)),
    ],
)
def test_usage_of_gemini_in_unusual_forms(counts: dict[str, Any], expected: TokenUsage) -> None:
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    answer = gemini_response.parse_completion({"candidates": [candidate], "usageMetadata": counts})
    assert TokenUsage.parse(answer["usage"]) == expected


def test_usage_of_anthropic_as_texts() -> None:
    counts = {"input_tokens": "9", "cache_read_input_tokens": "1000", "output_tokens": 5.0}
    answer = anthropic_response.parse_completion({"content": [], "stop_reason": "end_turn", "usage": counts})
    assert TokenUsage.parse(answer["usage"]) == TokenUsage(1009, 5, 1000)
