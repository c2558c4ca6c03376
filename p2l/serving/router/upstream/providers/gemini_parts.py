"""What the parts of Gemini's content become in a chat completion."""

import uuid

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.message_delta import carried
from p2l.serving.router.upstream_error import malformed

_CALL_FIELDS = ("id", "name", "args")
_STREAMED_CALL_FIELDS = ("partialArgs", "willContinue")  # sent only if streamFunctionCallArguments asks for them


def part_delta(part: JSON) -> JSON:
    """Return what a part adds to a message; one without a counterpart is carried as it is."""
    if isinstance(part.get("text"), str):
        name = "reasoning_content" if part.get("thought") else "content"
        return {**({name: part["text"]} if part["text"] else {}), **carried(parts=_rest(part, "text"))}
    if part.get("functionCall"):
        return {"tool_calls": [_call(part)]}
    data = part.get("inlineData")
    if isinstance(data, dict) and str(data.get("mimeType")).startswith("image/") and not part.get("thought"):
        url = f"data:{data['mimeType']};base64,{data['data']}"
        image = {"type": "image_url", "image_url": {"url": url}}
        return {"images": [image], **carried(parts=_rest(part, "inlineData"))}
    return carried(parts=[part] if part else [])


def _rest(part: JSON, known: str) -> list[JSON]:
    """Return the part without the field that has a counterpart; nothing if it has no others."""
    rest = {name: value for name, value in part.items() if name not in (known, "thought") and value}
    return [rest] if rest else []


def _call(part: JSON) -> JSON:
    function_call = part["functionCall"]
    if any(name in function_call for name in _STREAMED_CALL_FIELDS):
        raise malformed("a function call in pieces")
    arguments = function_call.get("args") or {}
    if not isinstance(arguments, dict):
        raise malformed("a function call whose arguments are not an object")
    call: JSON = {
        "id": function_call.get("id") or f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": function_call["name"], "arguments": dump_json(arguments).decode()},
    }
    extra = {name: value for name, value in function_call.items() if name not in _CALL_FIELDS}
    for rest in _rest(part, "functionCall"):
        extra |= rest
    if "thoughtSignature" in extra:  # later models require it back with the call
        extra["thought_signature"] = extra.pop("thoughtSignature")
    return {**call, "extra_content": {"google": extra}} if extra else call
