"""Collect what a model thought before it called a tool: signed by its vendor, required back, lost by most clients."""

from collections.abc import Iterator

from p2l.serving.router.chat_request import JSON

THINKING_BLOCKS = ("thinking", "redacted_thinking")
ORDERED_CONTENT = "p2l_content"
"""Field of a whole answer with its blocks in their order, for ``ThoughtRecorder``, which takes it out."""


class ThoughtRecorder:
    """Collects the thoughts of one answer: ``observe`` each chunk or the whole message, then read ``contents``."""

    def __init__(self) -> None:
        self._layout: list[JSON] = []
        self._signatures: dict[str, JSON] = {}
        self._unsigned: list[str] = []  # text of the thinking block under way

    def observe(self, part: JSON) -> bool:
        """Record a chunk or completion of chat completions; return whether an answer in it ends."""
        if (content := part.pop(ORDERED_CONTENT, None)) is not None:
            self._observe_content(content)
            return True
        ends = False
        for choice in part.get("choices") or ():
            message = choice.get("delta") or choice.get("message") or {}
            self._observe_message(message)
            ends = ends or bool(choice.get("finish_reason"))
        return ends

    def _observe_message(self, message: JSON) -> None:
        blocks = message.get("thinking_blocks")
        for block in blocks if isinstance(blocks, list) else ():
            if isinstance(block, dict):
                self._add_thinking(block)
        self._add_text(message.get("content"))
        for call in message.get("tool_calls") or ():
            self._add_call(call)

    def _observe_content(self, blocks: list[JSON]) -> None:
        self._layout.clear()
        for block in blocks:
            if is_thinking_block(block):
                self._layout.append(_as_sent(block))
            elif block.get("type") == "text":
                self._add_text(block.get("text"))
            elif block.get("type") == "tool_use":
                self._add_call(block)

    def contents(self) -> dict[str, JSON]:
        """Return the content of each call's thought; empty if nothing was thought or no tool called."""
        found = dict(self._signatures)
        first = next((entry["id"] for entry in self._layout if entry["type"] == "call"), None)
        if first is not None and any(entry["type"] in THINKING_BLOCKS for entry in self._layout):
            found[first] = {"layout": self._layout}
        return found

    def _add_thinking(self, block: JSON) -> None:
        """Add a block, or a piece of one: LiteLLM's streams have the text in pieces and the signature last."""
        if block.get("type") == "thinking":
            self._unsigned.append(block.get("thinking") or "")
        if is_thinking_block(block):
            texts = {"thinking": "".join(self._unsigned)} if block["type"] == "thinking" else {}
            self._layout.append(_as_sent({**block, **texts}))
            self._unsigned = []

    def _add_text(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        if self._layout and self._layout[-1]["type"] == "text":
            self._layout[-1]["length"] += len(text)
        else:
            self._layout.append({"type": "text", "length": len(text)})

    def _add_call(self, call: JSON) -> None:
        if not isinstance(name := call.get("id"), str):
            return  # a later piece of a call
        self._layout.append({"type": "call", "id": name})
        if (signature := google_signature(call)) is not None:
            self._signatures[name] = {"signature": signature}


class ThoughtNumbers:
    """Numbers the thinking blocks of LiteLLM's streams: OpenAI's clients join pieces of a list by their index."""

    def __init__(self) -> None:
        self._number = 0

    def number(self, chunk: JSON) -> JSON:
        """Return the chunk, each piece of a thinking block with the index of its block."""
        for choice in chunk.get("choices") or ():
            blocks = (choice.get("delta") or {}).get("thinking_blocks") or ()
            for block in blocks:
                block.setdefault("index", self._number)
                self._number += is_thinking_block(block)
        return chunk


def thinking_blocks(message: JSON) -> list[JSON]:
    """Return the blocks of a message or delta, in LiteLLM's form, that Anthropic takes back."""
    given = message.get("thinking_blocks")
    return [_as_sent(block) for block in given if is_thinking_block(block)] if isinstance(given, list) else []


def _as_sent(block: JSON) -> JSON:
    return {name: block[name] for name in ("type", "thinking", "signature", "data") if block.get(name) is not None}


def is_thinking_block(block: object) -> bool:
    """Return whether the block can be sent back: signed, or redacted."""
    if not isinstance(block, dict):
        return False
    signed = block.get("type") == "thinking" and bool(block.get("signature"))
    return signed or (block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str))


def google_signature(call: JSON) -> str | None:
    """Return the thought signature of a call in Google's OpenAI form; None without."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def call_ids(messages: list[JSON]) -> Iterator[str]:
    """Yield the ids of the tool calls in a history."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            if isinstance(call.get("id"), str):
                yield call["id"]
