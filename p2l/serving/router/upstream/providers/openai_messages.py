"""Read the messages and fields of an OpenAI request, and make OpenAI chunks, for the providers' translations."""

import re
from collections.abc import Iterable
from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import load_json
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.unknown_fields import Fields

INVALID_JSON = "INVALID_JSON"
"""Key of the text that a history's tool call has in place of a JSON object of arguments."""

_CHOICE_WORDS = ("auto", "none", "required")
_ROLES = ("user", "assistant", "tool")
_DATA_URL = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)

CONTENT_FIELDS: Fields = {
    "type": None,
    "text": None,
    "refusal": None,
    "image_url": {"url": None},
    "file": {"file_data": None, "filename": None},
}
"""The parts of a message's content that every translation carries."""

CALL_FIELDS: Fields = {"id": None, "type": None, "index": None, "function": {"name": None, "arguments": None}}
"""The parts of a message's tool call that every translation carries."""

RESPONSE_FORMAT_FIELDS: Fields = {"type": None, "json_schema": {"name": None, "strict": None, "schema": None}}
"""The parts of a ``response_format`` that every translation carries."""

CHOICE_FIELDS: Fields = {"type": None, "function": {"name": None}}
"""The parts of a ``tool_choice`` that every translation carries."""


def split_system(messages: list[JSON], configured: str | None) -> tuple[str | None, list[JSON]]:
    """Return the system prompt (of system and developer messages, else configured) and the other messages."""
    prompts = [message for message in messages if message["role"] in ("system", "developer")]
    if any(part["type"] not in ("text", "refusal") for message in prompts for part in parts_of(message)):
        raise invalid("messages: this model takes text alone from the system", "messages")
    texts = [text_of(message) for message in prompts]
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
    """Return the content of a message, or the refusal in its place, as parts without empty text."""
    content = message.get("content") or message.get("refusal")
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
    """Return name and arguments of a tool call; text that is not a JSON object is wrapped under INVALID_JSON."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("each tool call must have a function with a name", "messages")
    given = function.get("arguments")
    if isinstance(given, dict):
        return function["name"], given
    arguments = json_value(given or "{}")
    return function["name"], arguments if isinstance(arguments, dict) else {INVALID_JSON: given}


def json_value(text: object, default: Any = None) -> Any:
    """Return the value of a JSON text, numbers unchanged; the default if it is not JSON, or beyond a double."""
    try:
        return load_json(text.encode()) if isinstance(text, str) else default
    except ValueError:
        return default


def with_tool_calls(messages: list[JSON]) -> list[JSON]:
    """Return a history whose legacy ``function_call`` and messages of role ``function`` are tool calls and results."""
    ids: dict[object, str] = {}
    return [_with_tool_call(message, index, ids) for index, message in enumerate(messages)]


def _with_tool_call(message: JSON, index: int, ids: dict[object, str]) -> JSON:
    function = message.get("function_call")
    if isinstance(function, dict) and not message.get("tool_calls"):
        ids[str(function.get("name"))] = f"call_function_{index}"
        call = {"id": f"call_function_{index}", "type": "function", "function": function}
        return {**{k: v for k, v in message.items() if k != "function_call"}, "tool_calls": [call]}
    if message["role"] != "function":
        if message["role"] not in (*_ROLES, "system", "developer"):
            raise invalid(f"messages: this model knows no role {message['role'][:64]!r}", "messages")
        return message
    name = str(message.get("name"))
    if name not in ids:
        raise invalid("a message of role function must follow the function_call of its name", "messages")
    rest = {k: v for k, v in message.items() if k != "name"}
    return {**rest, "role": "tool", "tool_call_id": ids[name]}


def function_tools(body: JSON) -> list[JSON]:
    """Return the tools; ApiError 400 for tools other than functions, which only OpenAI runs."""
    tools: list[JSON] = body.get("tools") or []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise invalid("each tool must be of type function and have a name", "tools")
    return tools


def merge_tools(configured: object, own: list[JSON]) -> list[JSON]:
    """Return the configured tools and the client's, whose tool replaces a configured one of its name."""
    names = {_tool_name(tool) for tool in own} - {None}
    kept = [tool for tool in configured if _tool_name(tool) not in names] if isinstance(configured, list) else []
    return [*kept, *own]


def _tool_name(tool: object) -> object:
    if not isinstance(tool, dict):
        return None
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else tool.get("name")


def chosen_function(choice: object) -> str | None:
    """Return the function that ``tool_choice`` names; None if it is a word; ApiError 400 for anything else."""
    if choice is None or (isinstance(choice, str) and choice in _CHOICE_WORDS):
        return None
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise invalid(f"tool_choice must name a function, or be one of {', '.join(_CHOICE_WORDS)}", "tool_choice")
    return name


def schema_of(response_format: JSON) -> Any:
    """Return the JSON schema of a ``response_format``; None without."""
    described = response_format.get("json_schema")
    return described.get("schema") if isinstance(described, dict) else None


def stops_of(body: JSON) -> list[str]:
    """Return the stop sequences as a list."""
    stop: Any = body.get("stop")
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise invalid("stop must be text or a list of texts", "stop")
    return stops


def read_number(body: JSON, name: str) -> float | None:
    """Return the number in a field, None without one; ApiError 400 for anything else."""
    value: Any = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise invalid(f"{name} must be a number", name)
    return value


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
