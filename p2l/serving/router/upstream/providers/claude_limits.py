"""Fit a request of Anthropic's Messages API to what the model accepts, and name what had to go.

Sources: https://platform.claude.com/docs/en/build-with-claude/extended-thinking, .../adaptive-thinking, .../effort.
"""

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.model_families import (
    REASONING_BUDGETS,
    claude_samples,
    claude_takes_effort,
    claude_takes_one_of_temperature_and_top_p,
    claude_thinking,
    claude_version,
)
from p2l.serving.router.upstream.thoughts import THINKING_BLOCKS

MIN_BUDGET = 1024

SAMPLING = ("temperature", "top_p", "top_k")
_LEAST_TOP_P = 0.95  # with thinking


def reasoning_fields(name: str, effort: object, asked: object, configured: object) -> tuple[JSON, bool]:
    """Translate ``reasoning_effort`` to thinking and effort; return False beside it if it has no effect.

    Args:
        name: of the model.
        effort: as the client sent it.
        asked: the client's own ``thinking``, which goes before its effort.
        configured: the configuration's ``thinking``, which gives way to the client's effort.
    """
    kept = {"thinking": asked or configured} if asked or configured else {}
    if effort is None:
        return kept, True
    if effort == "none" and not asked:
        return ({"thinking": {"type": "disabled"}} if (claude_version(name) or (0, 0)) >= (5, 0) else {}), True
    if not isinstance(effort, str) or effort not in REASONING_BUDGETS:
        return kept, False
    if claude_takes_effort(name):
        thinking = asked or {"type": "adaptive"}
        return {"thinking": thinking, "output_config": {"effort": _effort(name, effort)}}, True
    if "enabled" in claude_thinking(name) and not asked:
        return {"thinking": {"type": "enabled", "budget_tokens": REASONING_BUDGETS[effort]}}, True
    return kept, False


def _effort(name: str, effort: str) -> str:
    if effort == "xhigh" and (claude_version(name) or (9, 9)) < (4, 7):
        return "max"
    return "low" if effort == "minimal" else effort


def fit_request(out: JSON, default_max_tokens: int | None) -> list[str]:
    """Change a built request to one that the model accepts; return the names of the fields that went.

    ``default_max_tokens``: the router's own limit, which grows with the thinking budget; None if the client or the
    configuration limits the output, so that the budget shrinks.
    """
    gone: list[str] = []
    for rule in (_fit_kind, _fit_history, _fit_tool_choice):
        gone += rule(out)
    gone += _fit_budget(out, default_max_tokens)
    for rule in (_fit_sampling_to_thinking, _fit_sampling_to_model):
        gone += rule(out)
    return gone


def thinks(out: JSON) -> bool:
    """Return whether a built request turns thinking on."""
    thinking = out.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _has_budget(out: JSON) -> bool:
    return thinks(out) and out["thinking"]["type"] == "enabled"


def _fit_kind(out: JSON) -> list[str]:
    """Turn a budget into adaptive thinking if the model knows only that; drop a kind that it does not have."""
    kinds = claude_thinking(out["model"])
    if not thinks(out) or out["thinking"]["type"] in kinds:
        return []
    if "adaptive" in kinds:
        rest = {k: v for k, v in out["thinking"].items() if k not in ("type", "budget_tokens")}
        out["thinking"] = {"type": "adaptive", **rest}
        return ["thinking.budget_tokens"]
    return _drop(out, "thinking")


def _fit_history(out: JSON) -> list[str]:
    """Drop a budget if the turn under way does not begin with thinking: another model made its calls, or a prefill."""
    if not _has_budget(out):
        return []
    last = next((i for i, m in reversed(list(enumerate(out["messages"]))) if m["role"] == "assistant"), None)
    if last is None or _ends_turn(out["messages"][last + 1 :]):
        return []
    first = next(iter(_blocks(out["messages"][last])), None)
    return [] if first is not None and first["type"] in THINKING_BLOCKS else _drop(out, "thinking")


def _ends_turn(after: list[JSON]) -> bool:
    """Return whether the user's message after an answer is more than the results of tools."""
    return any(block["type"] != "tool_result" for message in after for block in _blocks(message))


def _blocks(message: JSON) -> list[JSON]:
    """Return the content of a message as blocks; a client of this API may send text."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _fit_tool_choice(out: JSON) -> list[str]:
    forced = (out.get("tool_choice") or {}).get("type") in ("any", "tool")
    return _drop(out, "thinking") if forced and thinks(out) else []


def _fit_budget(out: JSON, default_max_tokens: int | None) -> list[str]:
    """Keep ``budget_tokens`` below ``max_tokens``."""
    if not _has_budget(out):
        return []
    budget = out["thinking"].get("budget_tokens")
    if not isinstance(budget, int) or budget < out["max_tokens"]:
        return []
    if default_max_tokens is not None:
        out["max_tokens"] = budget + default_max_tokens
        return []
    if out["max_tokens"] <= MIN_BUDGET:
        return _drop(out, "thinking")
    out["thinking"] = {**out["thinking"], "budget_tokens": max(MIN_BUDGET, out["max_tokens"] // 2)}
    return ["thinking.budget_tokens"]


def _fit_sampling_to_thinking(out: JSON) -> list[str]:
    if not thinks(out):
        return []
    gone = [] if out.get("temperature") in (None, 1) else _drop(out, "temperature")
    if (top_p := out.get("top_p")) is not None and not _LEAST_TOP_P <= top_p <= 1:
        gone += _drop(out, "top_p")
    return gone + _drop(out, "top_k")


def _fit_sampling_to_model(out: JSON) -> list[str]:
    if not claude_samples(out["model"]):
        return [gone for name in SAMPLING for gone in _drop(out, name)]
    both = out.get("temperature") is not None and out.get("top_p") is not None
    return _drop(out, "top_p") if both and claude_takes_one_of_temperature_and_top_p(out["model"]) else []


def _drop(out: JSON, name: str) -> list[str]:
    return [name] if out.pop(name, None) is not None else []
