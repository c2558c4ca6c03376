"""The tokens of an answer as its provider reports them, whichever of the known forms the report has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CACHE_READS = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")
_CACHE_WRITES = ("cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens")
_MOST_DIGITS = 15
_TOO_MANY = 10**_MOST_DIGITS  # no answer has so many tokens


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one answer, as they are charged.

    Attributes:
        prompt: all tokens of the prompt, the cached ones included.
        completion: all tokens that the model wrote, hidden reasoning included.
        cached: tokens of the prompt read from a cache.
        cache_written: tokens of the prompt written to a cache.
        cache_written_hour: of these, those that are kept for an hour.
    """

    prompt: int
    completion: int
    cached: int = 0
    cache_written: int = 0
    cache_written_hour: int = 0

    @property
    def is_zero(self) -> bool:
        return not self.prompt and not self.completion

    @classmethod
    def parse(cls, usage: object) -> "TokenUsage | None":
        """Read a usage with the names of chat completions; None if it lacks two of prompt, completion and total.

        Some servers leave reasoning out of ``completion_tokens`` (xAI, Gemini's OpenAI form), or cached tokens out of
        ``prompt_tokens``. The total, or a part larger than its whole, shows it.
        """
        counts = _counts(usage) if isinstance(usage, Mapping) else None
        if counts is None or not isinstance(usage, Mapping):
            return None
        prompt, completion, total = counts
        details = _section(usage, "prompt_tokens_details")
        cached = _first(usage, details, _CACHE_READS)
        written, hour = _cache_writes(usage, details)
        reasoning = reasoning_tokens(usage)
        outside, beside = total - prompt - completion, cached + written
        if beside > prompt or (outside != reasoning and outside in (beside, beside + reasoning)):
            prompt += beside
        if reasoning > completion:
            completion += reasoning
        completion = max(completion, total - prompt)
        return cls(prompt, completion, cached, written, min(hour, written))


def reasoning_tokens(usage: object) -> int:
    """Return the tokens of hidden reasoning in a usage with the names of chat completions; 0 if it counts none."""
    if not isinstance(usage, Mapping):
        return 0
    return _first(usage, _section(usage, "completion_tokens_details"), ("reasoning_tokens",))


def _counts(usage: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Return the counts of prompt, completion and total (0 without one); None if one is wrong, or two are missing."""
    prompt, completion, total = (count_tokens(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if prompt is None and completion is not None and total is not None and usage.get("prompt_tokens") is None:
        prompt = max(total - completion, 0)
    if completion is None and prompt is not None and total is not None and usage.get("completion_tokens") is None:
        completion = max(total - prompt, 0)
    return None if prompt is None or completion is None else (prompt, completion, total or 0)


def _cache_writes(usage: Mapping[str, Any], details: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens written to a cache, and those of them that are kept for an hour."""
    by_age = _section(usage, "cache_creation") or _section(details, "cache_creation_token_details")
    written = _first(usage, details, _CACHE_WRITES)
    if not by_age:
        return written, 0
    short, hour = (count_tokens(by_age, f"ephemeral_{age}_input_tokens") or 0 for age in ("5m", "1h"))
    return max(written, short + hour), hour


def _first(usage: Mapping[str, Any], details: Mapping[str, Any], names: tuple[str, ...]) -> int:
    for section in (details, usage):
        for name in names:
            if name in section and (count := count_tokens(section, name)):
                return count
    return 0


def _section(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = usage.get(name)
    return section if isinstance(section, Mapping) else {}


def count_tokens(usage: Mapping[str, Any], name: str) -> int | None:
    """Return a count of tokens; None if there is none. Some servers write 1000.0 or "1000"."""
    value = usage.get(name)
    if type(value) is int and 0 <= value < _TOO_MANY:
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) < _MOST_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _TOO_MANY:
        return None
    return math.ceil(value)
