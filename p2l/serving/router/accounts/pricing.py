"""What an answer costs: an estimate before the call, the actual cost after it."""

import math
from collections.abc import Mapping
from typing import Any

from p2l.serving.router.config.server_config import ModelConfig, Prices
from p2l.serving.router.token_estimates import BYTES_PER_TOKEN, estimate_prompt_tokens, max_output_tokens

# keys that lead to the model's text in completions, chunks, responses and their events
_TEXT_KEYS = frozenset(
    (
        *("choices", "message", "delta", "output"),
        *("content", "text", "refusal", "summary"),
        *("reasoning_content", "reasoning", "thinking"),
        *("tool_calls", "function_call", "function", "name", "arguments"),
    )
)


def cost_to_reserve(model: ModelConfig, as_chat: Mapping[str, Any]) -> float:
    """Return the highest cost expected of an answer to this request."""
    return estimate_cost(model, estimate_prompt_tokens(as_chat), _max_output_tokens(model, as_chat))


def actual_cost(
    model: ModelConfig, as_chat: Mapping[str, Any], usage: Mapping[str, object] | None, num_characters: int
) -> float:
    """Return the cost by usage; if the model has prices and usage is missing, estimate it by the length of the output.

    The estimate leaves out hidden reasoning. It is at most ``cost_to_reserve`` if the longest answer is known.
    """
    cost = cost_from_usage(model, usage)
    if cost is not None:
        return cost
    tokens, most = math.ceil(num_characters / BYTES_PER_TOKEN), _max_output_tokens(model, as_chat)
    return estimate_cost(model, estimate_prompt_tokens(as_chat), tokens if most is None else min(tokens, most))


def estimate_cost(model: ModelConfig, num_prompt_tokens: int, num_output_tokens: int | None) -> float:
    """Return the configured cost, or the price of the tokens if that is higher."""
    if model.prices is None or num_output_tokens is None:
        return model.cost
    return max(model.cost, _price(model.prices, num_prompt_tokens, num_output_tokens))


def cost_from_usage(model: ModelConfig, usage: Mapping[str, object] | None) -> float | None:
    """Return the price of the tokens used, or the configured cost without prices; None if usage is missing."""
    if model.prices is None:
        return model.cost
    prompt, completion = (usage or {}).get("prompt_tokens"), (usage or {}).get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return _price(model.prices, prompt, completion)


def output_characters(part: object) -> int:
    """Count the characters of text, reasoning and tool calls in a completion or chunk; skip any unknown form."""
    if isinstance(part, list):
        return sum(map(output_characters, part))
    if not isinstance(part, dict):
        return 0
    return sum(
        len(value) if isinstance(value, str) else output_characters(value)
        for key, value in part.items()
        if key in _TEXT_KEYS and not (key == "reasoning" and "reasoning_content" in part)  # the same text twice
    )


def _max_output_tokens(model: ModelConfig, as_chat: Mapping[str, Any]) -> int | None:
    """Return the most tokens that all choices may have together; None if neither client nor configuration limits it."""
    most = max_output_tokens(as_chat) or model.max_tokens
    return most and most * (as_chat.get("n") or 1)


def _price(prices: Prices, num_prompt_tokens: int, num_output_tokens: int) -> float:
    return (num_prompt_tokens * prices.input + num_output_tokens * prices.output) / 1e6
