"""The fields of a response of OpenAI's Responses API, beside its output."""

import time

from p2l.serving.router.accounts.token_usage import TokenUsage, reasoning_tokens
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream_error import FILTERED

# what a response repeats of its request, and what it has if the request says nothing
_REPEATED: JSON = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
# of the router: it runs and keeps nothing in the background, and cuts nothing off
_FIXED: JSON = {"background": False, "previous_response_id": None, "store": False, "truncation": "disabled"}
_INCOMPLETE = {"length": "max_output_tokens", FILTERED: "content_filter"}


def response_head(chunk: JSON, body: JSON, *, name: str, model: str) -> JSON:
    """Return a response that has just begun.

    Args:
        chunk: the first one of the answer.
        body: of the request.
        name: id of the response.
        model: named if the provider names none.
    """
    created = chunk.get("created")
    repeated = {field: body[field] if body.get(field) is not None else value for field, value in _REPEATED.items()}
    return {
        "id": name,
        "object": "response",
        "created_at": created if isinstance(created, int) else int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": chunk.get("model") or model,
        "output": [],
        "usage": None,
        **repeated,
        **_FIXED,
    }


def ending(finish_reason: object) -> JSON:
    """Return status and details of a response that ends for a reason of a chat."""
    reason = _INCOMPLETE.get(str(finish_reason))
    if reason is None:
        return {"status": "completed", "completed_at": int(time.time())}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


def response_usage(usage: object) -> JSON | None:
    """Return the usage in the names of this API; None if the provider reports none, which the API allows."""
    known = TokenUsage.parse(usage)
    if known is None:
        return None
    return {
        "input_tokens": known.prompt,
        "input_tokens_details": {"cached_tokens": known.cached, "cache_write_tokens": known.cache_written},
        "output_tokens": known.completion,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens(usage)},
        "total_tokens": known.prompt + known.completion,
    }
