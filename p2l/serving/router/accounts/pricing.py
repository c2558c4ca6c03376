"""What an answer costs: an estimate before the call, the actual cost after it.

``cost`` of a model is that of one choice; a request for ``n`` choices costs ``n`` times as much. A model whose cost is
predicted has one for the prompt here (``ModelConfig.with_cost``).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from p2l.serving.router.accounts.answer_tally import AnswerTally
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.config.token_prices import LongPromptPrices, Prices
from p2l.serving.router.token_estimates import BYTES_PER_TOKEN, estimate_prompt_tokens, max_output_tokens, num_choices

# of the input price, if no price of its own is configured: Anthropic's multiples, which hold for all its models
_ANTHROPIC_CACHED = 0.1
_CACHE_WRITE, _CACHE_WRITE_HOUR = 1.25, 2.0


def cost_to_reserve(model: ModelConfig, as_chat: Mapping[str, Any]) -> float:
    """Return the highest cost expected of an answer to this request."""
    return _estimate(model, as_chat, _max_output_tokens(model, as_chat))


def actual_cost(model: ModelConfig, as_chat: Mapping[str, Any], tally: AnswerTally, *, whole: bool) -> float:
    """Return what an answer costs by its usage; if the model has prices and usage is missing, by its length.

    Without prices, each choice costs ``cost``: those that came, if the answer is ``whole``, else those asked for. An
    answer that is not whole costs what its provider has reported so far, and the length of what came after that. The
    estimate by length leaves out hidden reasoning. It is at most ``cost_to_reserve`` if the longest answer is known.
    """
    if model.prices is None:
        return model.fixed_cost * (len(tally.choices) if whole and tally.choices else num_choices(as_chat))
    usage, tokens = tally.usage, math.ceil(max(tally.uncounted, 0) / BYTES_PER_TOKEN)
    most = _max_output_tokens(model, as_chat)
    if usage is None or (usage.is_zero and tally.characters):  # some servers report zeros
        return _estimate(model, as_chat, tokens if most is None else min(tokens, most))
    if whole and usage.completion:
        return price_of(model, usage)
    completion = usage.completion + tokens
    if most is not None:
        completion = max(usage.completion, min(completion, most))
    return price_of(model, replace(usage, completion=completion))


def price_of(model: ModelConfig, usage: TokenUsage) -> float:
    """Return the price of the tokens; the configured cost if the model has no prices."""
    if model.prices is None:
        return model.fixed_cost
    prices = model.prices.of_prompt(usage.prompt)
    cached, write = cached_price(model, prices), write_price(prices)
    write_hour = prices.input * _CACHE_WRITE_HOUR if prices.cache_write_hour is None else prices.cache_write_hour
    plain = usage.prompt - usage.cached - usage.cache_written
    short = usage.cache_written - usage.cache_written_hour
    prompt = plain * prices.input + usage.cached * cached + short * write + usage.cache_written_hour * write_hour
    return (prompt + usage.completion * prices.output) / 1e6


def cached_price(model: ModelConfig, prices: Prices | LongPromptPrices) -> float:
    """Return the price of a million tokens that are read from the provider's cache."""
    if prices.cached_input is not None:
        return prices.cached_input
    return prices.input * (_ANTHROPIC_CACHED if model.type == "anthropic" else 1.0)


def write_price(prices: Prices | LongPromptPrices) -> float:
    """Return the price of a million tokens that are written to the provider's cache for five minutes."""
    return prices.input * _CACHE_WRITE if prices.cache_write is None else prices.cache_write


def _estimate(model: ModelConfig, as_chat: Mapping[str, Any], num_output_tokens: int | None) -> float:
    """Return the configured cost of all choices, or the price of the tokens if that is higher."""
    configured = model.fixed_cost * num_choices(as_chat)
    if model.prices is None or num_output_tokens is None:
        return configured
    return max(configured, price_of(model, TokenUsage(estimate_prompt_tokens(as_chat), num_output_tokens)))


def _max_output_tokens(model: ModelConfig, as_chat: Mapping[str, Any]) -> int | None:
    """Return the most tokens that all choices may have together; None if neither client nor configuration limits it."""
    most = max_output_tokens(as_chat) or model.max_tokens
    return most and most * num_choices(as_chat)
