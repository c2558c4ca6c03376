"""Read the messages and fields of an OpenAI request, and make OpenAI chunks, for the providers' translations."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON

_DATA_URL = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)

# handled by the router, or without meaning at other providers: dropping them changes no answer
_DROPPED_SILENTLY = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "user",
        "n",
        "store",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "logprobs",
        "verbosity",
    ]
)


def dropped(body: JSON, known: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that the client set and this provider does not support."""
    supported = _DROPPED_SILENTLY.union(known)
    return tuple(sorted(name for name, value in body.items() if value is not None and name not in supported))


def split_system(messages: list[JSON], configured: str | None) -> tuple[str | None, list[JSON]]:
    """Return the system prompt (of system and developer messages, else configured) and the other messages."""
    texts = [text_of(message) for message in messages if message["role"] in ("system", "developer")]
    rest = [message for message in messages if message["role"] not in ("system", "developer")]
    if not rest:
        raise invalid("messages: this model needs a message of the user", "messages")
    return ("\n\n".join(text for text in texts if text) if texts else configured) or None, rest


def text_of(message: JSON) -> str:
    """Return the text of a message, its parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if isinstance(part.get("text"), str))


def parts_of(message: JSON) -> list[JSON]:
    """Return the content of a message as parts, without empty text."""
    content = message.get("content")
    if not content:
        return []
    parts: list[JSON] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [part for part in parts if part["type"] != "text" or part.get("text")]


def part_url(part: JSON) -> str:
    """Return the URL of an image part."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url.startswith(("data:", "http://", "https://")):
        raise invalid("image_url.url must be a data:, http: or https: URL", "messages")
    return url


def data_of(url: str) -> tuple[str, str] | None:
    """Return media type and base64 text of a data URL; None for another URL."""
    if not url.startswith("data:"):
        return None
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise invalid("a data: URL must name its media type and be base64", "messages")
    return match["mime"], match["data"]


def file_data(part: JSON) -> tuple[str, str]:
    """Return media type and base64 text of a file part."""
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    found = data_of(data) if isinstance(data, str) else None
    if found is None:
        raise invalid("a file part must hold file_data as a data: URL; file ids belong to another vendor", "messages")
    return found


def arguments_of(call: JSON) -> tuple[str, JSON]:
    """Return name and parsed arguments of a tool call."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("each tool call must have a function with a name", "messages")
    try:
        arguments = orjson.loads(function.get("arguments") or "{}")
    except (orjson.JSONDecodeError, TypeError):
        raise invalid(f"the arguments of the call of {function['name']!r} are not JSON", "messages") from None
    if not isinstance(arguments, dict):
        raise invalid(f"the arguments of the call of {function['name']!r} must be an object", "messages")
    return function["name"], arguments


def functions_of(body: JSON) -> list[JSON]:
    """Return the function of each tool; ApiError 400 for other tools, which only OpenAI runs."""
    functions = []
    for tool in body.get("tools") or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise invalid("each tool must be of type function and have a name", "tools")
        functions.append(function)
    return functions


def chosen_function(choice: object) -> str | None:
    """Return the function that ``tool_choice`` names; None if it is a word."""
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise invalid("tool_choice must be a word or name a function", "tool_choice")
        return name
    return None


def stops_of(body: JSON) -> list[str]:
    """Return the stop sequences as a list."""
    stop: Any = body.get("stop")
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise invalid("stop must be text or a list of texts", "stop")
    return stops


def first_set(*values: Any) -> Any:
    """Return the first value that is not None: the client's, then the configured one. 0 is a value."""
    return next((value for value in values if value is not None), None)


def without_none(values: JSON) -> JSON:
    return {name: value for name, value in values.items() if value is not None}


def chunk(head: JSON, delta: JSON, *, index: int = 0, finish_reason: str | None = None) -> JSON:
    """Return one chunk in OpenAI's format."""
    return {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def alternating(messages: Iterable[tuple[str, list[JSON]]], parts: str) -> list[JSON]:
    """Merge consecutive messages (role, parts) of the same role; drop empty ones. ``parts``: name of their field."""
    merged: list[JSON] = []
    for role, content in messages:
        if not content:
            continue
        if merged and merged[-1]["role"] == role:
            merged[-1][parts] += content
        else:
            merged.append({"role": role, parts: content})
    if not merged:
        raise invalid("messages: this model needs a message with content", "messages")
    return merged
