"""View the content blocks of Anthropic's Messages API as messages of a chat.

A field that a chat has no place for is added to ``lost`` by its path. A block that no chat has gets a part type of its
own, so that only models that are asked in Anthropic's API may answer.
"""

from collections.abc import Iterator
from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.api.chat_view import assistant_message, note_lost, plain_content, text_in
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.thoughts import is_thinking_block

_CONTENT = "messages.content"


def blocks_in(content: object, where: str) -> list[JSON]:
    """Return the content as blocks; ApiError 400 if it is neither text nor a list of objects with a type."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise invalid(f"{where} must be text or a list of blocks", where)
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise invalid(f"{where}[{index}] must be an object with a type", f"{where}[{index}]")
    return content


def chat_messages(message: JSON, where: str, lost: set[str]) -> Iterator[JSON]:
    """Yield the messages of a chat that one message becomes: each result of a tool is one of its own.

    Args:
        message: its role is checked.
        where: its path, for errors.
        lost: gets the fields that a chat has no place for.
    """
    note_lost(message, ("role", "content"), "messages", lost)
    role, where = message["role"], f"{where}.content"
    blocks = blocks_in(message.get("content"), where)
    if role == "assistant":
        yield _assistant(blocks, where, lost)
        return
    parts: list[JSON] = []
    for index, block in enumerate(blocks):
        if block["type"] != "tool_result":
            parts.append(_part(block, f"{where}[{index}]", lost))
            continue
        if parts:
            yield {"role": role, "content": plain_content(parts)}
        parts = []
        yield _tool_message(block, f"{where}[{index}]", lost)
    if parts or not blocks:
        yield {"role": role, "content": plain_content(parts)}


def text_part(block: JSON, where: str, lost: set[str]) -> JSON:
    """Return a block of text as a part."""
    note_lost(block, ("type", "text", "cache_control"), _CONTENT, lost)
    return _marked({"type": "text", "text": text_in(block, "text", where)}, block)


def _marked(made: JSON, block: JSON) -> JSON:
    """Return what a block became, with its mark of a cache breakpoint."""
    return {**made, "cache_control": block["cache_control"]} if block.get("cache_control") else made


def _assistant(blocks: list[JSON], where: str, lost: set[str]) -> JSON:
    """Return the message of an assistant; its thoughts, text and calls stand in this order."""
    parts: list[JSON] = []
    calls: list[JSON] = []
    thoughts: list[JSON] = []
    unsigned: list[str] = []
    for index, block in enumerate(blocks):
        place = f"{where}[{index}]"
        if block["type"] == "tool_use":
            calls.append(_tool_call(block, place, lost))
        elif is_thinking_block(block):
            thoughts.append(block)
        elif block["type"] == "thinking":
            note_lost(block, ("type", "thinking", "signature"), _CONTENT, lost)
            unsigned.append(text_in(block, "thinking", place))
        else:
            parts.append(_part(block, place, lost))
    return assistant_message(parts, calls, thoughts, "".join(unsigned))


def _tool_call(block: JSON, where: str, lost: set[str]) -> JSON:
    note_lost(block, ("type", "id", "name", "input", "cache_control"), _CONTENT, lost)
    if not isinstance(block.get("input"), dict):
        raise invalid(f"{where}.input must be an object", f"{where}.input")
    function = {"name": text_in(block, "name", where), "arguments": dump_json(block["input"]).decode()}
    return _marked({"id": text_in(block, "id", where), "type": "function", "function": function}, block)


def _tool_message(block: JSON, where: str, lost: set[str]) -> JSON:
    note_lost(block, ("type", "tool_use_id", "content", "is_error", "cache_control"), _CONTENT, lost)
    given = blocks_in(block.get("content") or "", f"{where}.content")
    parts = [_part(inner, f"{where}.content[{index}]", lost) for index, inner in enumerate(given)]
    message: JSON = {"role": "tool", "tool_call_id": text_in(block, "tool_use_id", where)}
    message |= {"content": plain_content(parts), **({"is_error": True} if block.get("is_error") else {})}
    return _marked(message, block)


def _part(block: JSON, where: str, lost: set[str]) -> JSON:
    kind, part = block["type"], None
    if kind == "text":
        return text_part(block, where, lost)
    if kind in ("image", "document"):
        source = block.get("source")
        if not isinstance(source, dict):
            raise invalid(f"{where}.source must be an object", f"{where}.source")
        part = _image(source, where) if kind == "image" else _document(block, source, where, lost)
    if part is None:
        return {"type": f"anthropic_{kind}"}
    known = ("type", "source", "cache_control", *(("title", "context") if kind == "document" else ()))
    note_lost(block, known, _CONTENT, lost)
    return _marked(part, block)


def _image(source: JSON, where: str) -> JSON | None:
    """Return an image part; None for a file that only Anthropic has."""
    if source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": text_in(source, "url", f"{where}.source")}}
    data = _data_url(source, where)
    return None if data is None else {"type": "image_url", "image_url": {"url": data}}


def _document(block: JSON, source: JSON, where: str, lost: set[str]) -> JSON | None:
    """Return a document as a file, one of plain text as text; None for one that only Anthropic can read."""
    title, context = block.get("title"), block.get("context")
    if source.get("type") == "text":
        text = text_in(source, "data", f"{where}.source")
        heading = [str(line) for line in (title, context) if line]
        return {"type": "text", "text": "\n".join([*heading, text])}
    data = _data_url(source, where)
    if data is None:
        return None
    if context:
        lost.add(f"{_CONTENT}.context")
    return {"type": "file", "file": {"filename": str(title or "document"), "file_data": data}}


def _data_url(source: JSON, where: str) -> str | None:
    if source.get("type") != "base64":
        return None
    kind = text_in(source, "media_type", f"{where}.source")
    return f"data:{kind};base64,{text_in(source, 'data', f'{where}.source')}"


def checked_messages(given: Any) -> list[JSON]:
    """Return the messages; ApiError 400 if they are no list of messages with a role of this API."""
    if not isinstance(given, list) or not given:
        raise invalid("messages must be a list of at least one message", "messages")
    for index, message in enumerate(given):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            expected = "an object with the role user, assistant or system"
            raise invalid(f"messages[{index}] must be {expected}; got {str(role)[:64]!r}", f"messages[{index}]")
    return given
