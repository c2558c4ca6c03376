"""What a vendor's documentation says of its model families, read off the model's name.

A name of no known family gets no preset: the refusals of its provider then decide.
"""

import re
from functools import lru_cache

Version = tuple[int, int]

REASONING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Thinking tokens of each ``reasoning_effort``, as Google documents them for its OpenAI form."""

_CLAUDE = re.compile(r"claude-(?:(?:opus|sonnet|haiku|fable|mythos)-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_GEMINI = re.compile(r"gemini-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_OPENAI_REASONING = re.compile(r"(?:^|/)(?:o[1-9](?![a-z0-9])|gpt-[5-9](?!\d))(?!.*chat)")
_OPENAI_WITHOUT_SAMPLING = re.compile(r"(?:^|/)(?:o[1-9](?![a-z0-9])|gpt-5(?![.\d]))(?!.*chat)")


def claude_version(name: str) -> Version | None:
    """Return the version of a Claude model, (4, 5) for ``claude-sonnet-4-5-20250929``; None for any other name."""
    return _version(_CLAUDE, name)


def gemini_version(name: str) -> Version | None:
    """Return the version of a Gemini model, (2, 5) for ``gemini-2.5-pro``; None for any other name."""
    return _version(_GEMINI, name)


@lru_cache(maxsize=1024)
def openai_limits_completion(name: str) -> bool:
    """Return whether OpenAI calls the model's limit ``max_completion_tokens``: the o series, GPT-5 and later."""
    return _OPENAI_REASONING.search(name) is not None


@lru_cache(maxsize=1024)
def openai_samples(name: str) -> bool:
    """Return whether the model takes temperature, top_p and penalties; the o series and GPT-5 do not."""
    return _OPENAI_WITHOUT_SAMPLING.search(name) is None


def claude_samples(name: str) -> bool:
    """Return whether the model takes temperature, top_p and top_k; since 4.7 it does not."""
    version = claude_version(name)
    return version is None or version < (4, 7)


def claude_takes_one_of_temperature_and_top_p(name: str) -> bool:
    """Return whether the model refuses both together, as every model since Opus 4.1 does."""
    version = claude_version(name)
    return version is not None and version >= (4, 1)


def claude_thinking(name: str) -> frozenset[str]:
    """Return the kinds of thinking: ``enabled`` with a budget (3.7 to 4.6), ``adaptive`` (since 4.6), or none."""
    version = claude_version(name)
    if version is None:
        return frozenset(("enabled", "adaptive"))
    kinds = {"enabled": (3, 7) <= version <= (4, 6), "adaptive": version >= (4, 6)}
    return frozenset(kind for kind, able in kinds.items() if able)


def claude_takes_effort(name: str) -> bool:
    """Return whether the model takes ``output_config.effort`` without a beta header, as every model since 4.6 does."""
    version = claude_version(name)
    return version is None or version >= (4, 6)


def claude_has_structured_output(name: str) -> bool:
    """Return whether the model keeps to a JSON schema: every model since Opus 4.1."""
    return claude_version(name) is None or claude_takes_one_of_temperature_and_top_p(name)


def gemini_checks_signatures(name: str) -> bool:
    """Return whether the model refuses a function call without a thought signature, as Gemini 3 and later does."""
    version = gemini_version(name)
    return version is not None and version >= (3, 0)


def gemini_thinking(name: str, effort: object) -> tuple[dict[str, object] | None, int]:
    """Return ``thinkingConfig`` and the tokens that it may take for a ``reasoning_effort``; None if it has no such.

    Source: https://ai.google.dev/gemini-api/docs/openai#thinking
    """
    if not isinstance(effort, str) or effort not in (*REASONING_BUDGETS, "none"):
        return None, 0
    version, is_pro = gemini_version(name) or (3, 5), "pro" in name
    if version < (2, 5) or (effort == "none" and is_pro):  # Pro always thinks
        return None, 0
    if version < (3, 0):
        budget = REASONING_BUDGETS.get(effort, 0)
        return {"thinkingBudget": budget}, budget
    level = {"none": "minimal", "xhigh": "high", "max": "high"}.get(effort, effort)
    if is_pro:
        level = {"minimal": "low", "medium": "medium" if version > (3, 0) else "high"}.get(level, level)
    return {"thinkingLevel": level}, REASONING_BUDGETS[level]


@lru_cache(maxsize=1024)
def _version(pattern: re.Pattern[str], name: str) -> Version | None:
    found = pattern.search(name)
    return None if found is None else (int(found[1]), int(found[2] or 0))
