"""Parse a request of the Responses API: check what the router reads, and view it as a chat."""

from collections.abc import Mapping
from dataclasses import replace

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_of_response import view_as_chat
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import JSON, ChatRequest, reject_forbidden_fields

MAX_RESPONSE_ID = 256

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
    view = view_as_chat(body, items)
    request = parse_chat_request(view.body, headers, session_from_user)
    return replace(
        request,
        api="responses",
        body={name: value for name, value in body.items() if name not in ("cost", "direct_model")},
        include_usage=True,
        untranslated=view.lost,
        previous_response=previous,
    )


def _items(value: object) -> list[JSON]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise invalid("input must be text or a list of items", "input")
    for index, item in enumerate(value):
        if not isinstance(item, dict) or not _has_its_form(item):
            expected = "an item with a type, or a message with a role and content: text or parts with a type"
            raise invalid(f"input[{index}] must be {expected}", f"input[{index}]")
    return value


def _has_its_form(item: JSON) -> bool:
    kind = item.get("type")
    if kind not in (None, "message"):
        return isinstance(kind, str)
    return isinstance(item.get("role"), str) and isinstance(item.get("content"), (str, list))
