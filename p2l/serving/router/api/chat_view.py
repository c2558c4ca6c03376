"""What a request of another API becomes as a chat, and what of it a chat has no place for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON

# values that say what holds without the field, or what only an answer says
_DEFAULTS: dict[str, tuple[object, ...]] = {
    "allowed_callers": (["direct"],),
    "caller": ({"type": "direct"},),
    "citations": ({"enabled": False},),
    "context": ("auto",),
    "detail": ("auto",),
    "mode": ("standard",),
    "truncation": ("disabled",),
}


@dataclass(frozen=True)
class ChatView:
    """A request as a chat.

    Attributes:
        body: in the form of chat completions.
        lost: paths of the fields that it does not hold.
    """

    body: JSON
    lost: frozenset[str]


def note_lost(given: JSON, known: Iterable[str], where: str, lost: set[str]) -> None:
    """Add the fields that are set and not known to ``lost``."""
    for name, value in given.items():
        is_set = value is not False and value not in (None, [], {}, "") and value not in _DEFAULTS.get(name, ())
        if name not in known and is_set:
            lost.add(f"{where}.{name}" if where else name)


def text_in(given: JSON, name: str, where: str) -> str:
    """Return the text in a field; ApiError 400 if it is missing or no text."""
    value = given.get(name)
    if not isinstance(value, str):
        raise invalid(f"{where}.{name} must be text", f"{where}.{name}")
    return value


def object_in(body: JSON, name: str) -> JSON:
    """Return the object in a field, empty without one; ApiError 400 for anything else."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"{name} must be an object", name)
    return value or {}


def objects_in(body: JSON, name: str) -> list[JSON]:
    """Return the objects in a list, none without one; ApiError 400 for anything else."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise invalid(f"{name} must be a list of objects", name)
    return value


def plain_content(parts: list[JSON]) -> str | list[JSON]:
    """Return one part of text alone as text, which every server reads; other parts as they are."""
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and _is_plain(parts[0]) else parts


def assistant_message(parts: list[JSON], calls: list[JSON], thoughts: list[JSON], reasoning: str) -> JSON:
    """Return the message of an assistant; texts alone are joined, and its calls follow its text."""
    text = "".join(part["text"] for part in parts) if all(map(_is_plain, parts)) else None
    message: JSON = {"role": "assistant", "content": (text or None) if text is not None else parts}
    if message["content"] is None and not calls:
        message["content"] = ""
    fields = {"tool_calls": calls, "thinking_blocks": thoughts, "reasoning_content": reasoning}
    return {**message, **{name: value for name, value in fields.items() if value}}


def _is_plain(part: JSON) -> bool:
    return part.keys() == {"type", "text"}


def is_closed_schema(schema: Any) -> bool:
    """Return whether every object of a schema has its properties required and no others, as OpenAI's strict needs."""
    if isinstance(schema, list):
        return all(map(is_closed_schema, schema))
    if not isinstance(schema, dict):
        return True
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    is_object = bool(properties) or schema.get("type") == "object"
    requires_all = isinstance(required, list) and all(name in required for name in properties)
    closed = schema.get("additionalProperties") is False and requires_all
    return (closed or not is_object) and all(map(is_closed_schema, schema.values()))
