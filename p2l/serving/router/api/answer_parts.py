"""Read what an answer of a chat holds, for the APIs that render it in another form."""

from typing import Any

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.message_delta import CARRIED

_MESSAGE_FIELDS = (
    *("role", "content", "refusal", "tool_calls"),
    *("reasoning_content", "reasoning", "thinking_blocks", CARRIED),
)
_CHOICE_FIELDS = ("index", "message", "delta", "finish_reason", "logprobs")
_ANSWER_FIELDS = ("id", "object", "created", "model", "choices", "usage")


def reasoning_in(message: JSON) -> str:
    """Return the reasoning in a message or delta, whichever field of OpenAI's form holds it."""
    texts = (message.get(name) for name in ("reasoning_content", "reasoning"))
    return next((text for text in texts if isinstance(text, str) and text), "")


def thoughts_in(message: JSON) -> list[JSON]:
    """Return the blocks of thinking of a message or delta, or the pieces of them, in LiteLLM's form."""
    blocks = message.get("thinking_blocks")
    return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []


def carried_of(message: JSON) -> JSON:
    """Return what a message or delta holds that this API has no field for."""
    content = message.get("content")
    known = message.get(CARRIED)
    others = {name: value for name, value in message.items() if name not in _MESSAGE_FIELDS and _is_set(value)}
    if content and not isinstance(content, str):
        others["content"] = content
    return {**(known if isinstance(known, dict) else {}), **others}


def carried_beside(answer: JSON, choice: JSON) -> JSON:
    """Return what an answer or chunk holds beside its message that this API has no field for."""
    fields = {name: value for name, value in answer.items() if name not in _ANSWER_FIELDS}
    fields |= {name: value for name, value in choice.items() if name not in _CHOICE_FIELDS}
    return {name: value for name, value in fields.items() if _is_set(value)}


def _is_set(value: Any) -> bool:
    return value not in (None, [], {}, "")
