"""Costs by prices, and the length of an output."""

from typing import Any

import pytest

from p2l.serving.router.accounts.pricing import cost_from_usage, estimate_cost, output_characters
from p2l.serving.router.config.server_config import ModelConfig, Prices
from tests.serving.router.fakes import completion, delta
from tests.serving.router.fakes_responses import message, response


def test_costs() -> None:
    priced = ModelConfig("m", "openai", 0.5, prices=Prices(input=2.0, output=10.0), max_tokens=1000)
    assert estimate_cost(priced, 10**6, 1000) == pytest.approx(2.01)
    assert estimate_cost(priced, 10**6, None) == 0.5
    assert estimate_cost(priced, 0, 10) == 0.5
    assert cost_from_usage(priced, {"prompt_tokens": 10**6, "completion_tokens": 10**5}) == pytest.approx(3.0)
    assert cost_from_usage(priced, None) is None and cost_from_usage(priced, {"prompt_tokens": 5}) is None
    assert cost_from_usage(ModelConfig("m", "openai", 0.5), {"prompt_tokens": 5, "completion_tokens": 5}) == 0.5


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
