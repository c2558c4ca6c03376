"""Translate the messages of a chat to those of Anthropic's Messages API, with the thoughts behind their calls."""

import re
from hashlib import sha256
from itertools import accumulate, pairwise

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON, Thought, Thoughts
from p2l.serving.router.upstream.providers.openai_messages import (
    alternating,
    arguments_of,
    data_of,
    file_data,
    part_url,
    parts_of,
    text_of,
    without_none,
)
from p2l.serving.router.upstream.thoughts import THINKING_BLOCKS, thinking_blocks

_ID, _NOT_IN_ID = re.compile(r"[a-zA-Z0-9_-]+"), re.compile(r"[^a-zA-Z0-9_-]")


def translate_system(messages: list[JSON], text: str | None) -> str | list[JSON] | None:
    """Return the system prompt: ``text``, or blocks if a part of a system message marks a cache breakpoint."""
    blocks = [block for m in messages if m["role"] in ("system", "developer") for block in _parts(m)]
    return blocks if any("cache_control" in block for block in blocks) else text


def translate_messages(messages: list[JSON], model: str, thoughts: Thoughts) -> list[JSON]:
    """Translate to messages of alternating roles; tool results belong to the user's message."""
    roles = ("assistant" if message["role"] == "assistant" else "user" for message in messages)
    return alternating(zip(roles, (_blocks(m, model, thoughts) for m in messages)), "content")


def _blocks(message: JSON, model: str, thoughts: Thoughts) -> list[JSON]:
    if message["role"] == "tool":
        content = text_of(message) if isinstance(message.get("content"), str) else _parts(message)
        result = {"type": "tool_result", "tool_use_id": sent_id(message.get("tool_call_id")), "content": content}
        is_error = True if message.get("is_error") else None
        return [without_none({**result, "is_error": is_error, "cache_control": message.get("cache_control")})]
    parts, uses = _parts(message), [_tool_use(call) for call in message.get("tool_calls") or ()]
    if message["role"] != "assistant":
        return parts + uses
    thought = thoughts.get(str(message["tool_calls"][0].get("id"))) if uses else None
    if thought is not None:
        return _with_thought(thought, model, parts, uses)
    return thinking_blocks(message) + parts + uses


def _tool_use(call: JSON) -> JSON:
    name, arguments = arguments_of(call)
    use = {"type": "tool_use", "id": sent_id(call.get("id")), "name": name, "input": arguments}
    return {**use, "cache_control": call["cache_control"]} if call.get("cache_control") else use


def sent_id(call_id: object) -> object:
    """Return the id of a call in the letters of this API; the calls of some other models have more."""
    if not isinstance(call_id, str) or _ID.fullmatch(call_id):
        return call_id
    return f"{_NOT_IN_ID.sub('_', call_id)}_{sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _with_thought(thought: Thought, model: str, parts: list[JSON], uses: list[JSON]) -> list[JSON]:
    """Return the blocks in the order in which they came; the thoughts first if the client changed the message."""
    layout = thought.content.get("layout")
    if thought.model != model or not isinstance(layout, list):
        return parts + uses
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    lengths = [entry["length"] for entry in layout if entry["type"] == "text"]
    calls = [entry["id"] for entry in layout if entry["type"] == "call"]
    plain = all(part.keys() == {"type", "text"} for part in parts)
    if not plain or sum(lengths) != len(text) or calls != [use["id"] for use in uses]:
        return [entry for entry in layout if entry["type"] in THINKING_BLOCKS] + parts + uses
    texts = iter(text[start:end] for start, end in pairwise(accumulate(lengths, initial=0)))
    in_order = iter(uses)
    return [
        {"type": "text", "text": next(texts)}
        if entry["type"] == "text"
        else next(in_order)
        if entry["type"] == "call"
        else entry
        for entry in layout
    ]


def _parts(message: JSON) -> list[JSON]:
    blocks = [_block(part) for part in parts_of(message)]
    mark = message.get("cache_control") if message["role"] != "tool" else None
    if mark and blocks:
        blocks[-1] = {"cache_control": mark, **blocks[-1]}
    return blocks


def _block(part: JSON) -> JSON:
    cache = {"cache_control": part["cache_control"]} if part.get("cache_control") else {}
    if part["type"] in ("text", "refusal"):
        return {"type": "text", "text": part.get("text") or part.get("refusal") or "", **cache}
    if part["type"] == "image_url":
        url = part_url(part)
        data = data_of(url)
        source = {"type": "url", "url": url} if data is None else _base64(*data)
        return {"type": "image", "source": source, **cache}
    if part["type"] == "file":
        return without_none(
            {
                "type": "document",
                "source": _base64(*file_data(part)),
                "title": part["file"].get("filename"),
                **cache,
            }
        )
    raise invalid(f"this model takes no part of type {part['type'][:64]!r}", "messages")


def _base64(mime: str, data: str) -> JSON:
    return {"type": "base64", "media_type": mime, "data": data}
