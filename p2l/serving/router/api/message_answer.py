"""Render an answer, whole, as a message of Anthropic's Messages API."""

import uuid

from p2l.serving.router.accounts.answer_tally import output_characters
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.api.answer_parts import carried_beside, carried_of, reasoning_in, thoughts_in
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.token_estimates import BYTES_PER_TOKEN, estimate_prompt_tokens
from p2l.serving.router.upstream.providers.message_delta import CARRIED
from p2l.serving.router.upstream.providers.openai_messages import arguments_of
from p2l.serving.router.upstream_error import FILTERED, malformed

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    FILTERED: "refusal",
}


def ending(choice: JSON, as_chat: JSON, *, calls: bool, refuses: bool) -> JSON:
    """Return the stop reason of a choice, and the stop sequence if the server names it, as vLLM does.

    Some servers end an answer that calls a tool with ``stop``.
    """
    found, stops = choice.get("stop_reason"), as_chat.get("stop") or ()
    if isinstance(found, str) and found in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": found}
    reason = "refusal" if refuses else _STOP_REASONS.get(str(choice.get("finish_reason")), "end_turn")
    return {"stop_reason": "tool_use" if calls and reason == "end_turn" else reason, "stop_sequence": None}


def message_usage(usage: object, as_chat: JSON, num_characters: int) -> JSON:
    """Return the usage in the names of this API, which counts cached tokens apart.

    The API requires it. If the provider reports none, it is estimated from the lengths, and ``estimated`` says so.
    """
    known = TokenUsage.parse(usage)
    if known is None:
        output = -(-num_characters // BYTES_PER_TOKEN)
        return {**_counts(TokenUsage(estimate_prompt_tokens(as_chat), output)), "estimated": True}
    return _counts(known)


def _counts(usage: TokenUsage) -> JSON:
    return {
        "input_tokens": max(usage.prompt - usage.cached - usage.cache_written, 0),
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


def message_of(completion: JSON, as_chat: JSON, *, model: str, shows_thinking: bool) -> JSON:
    """Return a chat completion as a message.

    Args:
        completion: as it was checked.
        as_chat: the request, for an estimate of a missing usage.
        model: named in the message if the provider names none.
        shows_thinking: whether the client asked for thinking; else it is left out.

    Raises UpstreamError if a tool call is malformed.
    """
    choice = completion["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls") or []
    text = message.get("content")
    refusal = message.get("refusal")
    content = _thoughts(message) if shows_thinking else []
    content += [{"type": "text", "text": one} for one in (text, refusal) if isinstance(one, str) and one]
    content += [{**tool_use(call), "input": arguments_of(call)[1]} for call in calls]
    carried = {**carried_beside(completion, choice), **carried_of(message)}
    return {
        **message_head(completion, model),
        "content": content,
        **ending(choice, as_chat, calls=bool(calls), refuses=bool(refusal)),
        "usage": message_usage(completion.get("usage"), as_chat, output_characters(completion)),
        **({CARRIED: carried} if carried else {}),
    }


def message_head(answer: JSON, model: str) -> JSON:
    """Return the first fields of a message, with an id and the model's name if the provider gives none."""
    name = answer.get("id") or f"msg_{uuid.uuid4().hex[:24]}"
    return {"id": name, "type": "message", "role": "assistant", "model": answer.get("model") or model}


def _thoughts(message: JSON) -> list[JSON]:
    """Return the thoughts; those of vendors without signatures have an empty one, which no vendor takes back."""
    if blocks := thoughts_in(message):
        return blocks
    text = reasoning_in(message)
    return [{"type": "thinking", "thinking": text, "signature": ""}] if text else []


def tool_use(call: JSON) -> JSON:
    """Return the block of a tool call, without its input; UpstreamError if it names no function."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise malformed("a tool call without the name of a function")
    name = call.get("id") or f"toolu_{uuid.uuid4().hex[:24]}"
    return {"type": "tool_use", "id": name, "name": function["name"], "input": {}}
