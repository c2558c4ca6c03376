"""Parse a request of the Responses API: check what the router reads, and view it as a chat for selection."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import JSON, ChatRequest, reject_forbidden_fields

MAX_RESPONSE_ID = 256

# part types of the Responses API -> chat completions
_PART_TYPES = {"input_text": "text", "input_image": "image_url", "input_file": "file", "output_text": "text"}
_UNSUPPORTED = {
    "conversation": "conversations are stored at one provider; use previous_response_id",
    "prompt": "stored prompts belong to one provider; send instructions and input",
    "background": "not supported, since its cost cannot be billed; leave it out",
}


def parse_response_request(body: JSON, headers: Mapping[str, str], session_from_user: bool = False) -> ChatRequest:
    """Return the request in a JSON body; ApiError 400 for a wrong field, or one that needs state of a provider."""
    reject_forbidden_fields(body)
    for name, reason in _UNSUPPORTED.items():
        if body.get(name):
            raise invalid(f"{name}: {reason}", name, "unsupported")
    previous = body.get("previous_response_id")
    if previous is not None and (not isinstance(previous, str) or not 0 < len(previous) <= MAX_RESPONSE_ID):
        message = f"previous_response_id must be text of at most {MAX_RESPONSE_ID} characters"
        raise invalid(message, "previous_response_id")
    items = _items(body.get("input"))
    if previous is None and any(item.get("type") == "item_reference" for item in items):
        raise invalid("input: an item_reference needs previous_response_id, which names its provider", "input")
    request = parse_chat_request(_as_chat(body, items), headers, session_from_user)
    passed_on = {name: value for name, value in body.items() if name not in ("cost", "direct_model")}
    return replace(request, api="responses", body=passed_on, previous_response=previous)


def _items(value: object) -> list[JSON]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise invalid("input must be text or a list of items", "input")
    for index, item in enumerate(value):
        if not isinstance(item, dict) or (_is_message(item) and not _is_valid_message(item)):
            expected = "an item with a type, or a message with a role and content: text or parts with a type"
            raise invalid(f"input[{index}] must be {expected}", f"input[{index}]")
    return value


def _is_message(item: JSON) -> bool:
    return item.get("type") in (None, "message")


def _is_valid_message(message: JSON) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    typed = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts)
    return isinstance(message.get("role"), str) and isinstance(content, (str, list)) and typed


def _as_chat(body: JSON, items: list[JSON]) -> JSON:
    """Return the request in the form of chat completions: text, tools and limits, as far as the router reads them."""
    shared = ("model", "user", "cost", "direct_model", "stream", "tools", "top_logprobs")
    as_chat = {name: body[name] for name in shared if body.get(name) is not None}
    text = body.get("text")
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        as_chat["response_format"] = text["format"]
    if "message.output_text.logprobs" in _texts(body.get("include")):
        as_chat["logprobs"] = True
    if body.get("max_output_tokens") is not None:
        as_chat["max_completion_tokens"] = body["max_output_tokens"]
    as_chat["messages"] = [*_instructions(body), *map(_message, items)]
    return as_chat


def _instructions(body: JSON) -> Iterator[JSON]:
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        yield {"role": "developer", "content": instructions}


def _message(item: JSON) -> JSON:
    """Return the item as a chat message; a call, result or reasoning becomes a tool message."""
    if not _is_message(item):
        output = item.get("output")
        return {"role": "tool", "content": output if isinstance(output, str) else None}
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return {"role": item["role"], "content": content}


def _part(part: JSON) -> JSON:
    return {**part, "type": _PART_TYPES.get(part["type"], part["type"])}


def _texts(given: object) -> list[str]:
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
