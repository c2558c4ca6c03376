"""What the content blocks of Anthropic's Messages API become in a chat completion."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.lenient_json import loads
from p2l.serving.router.upstream.providers.message_delta import ListIndexes, carried
from p2l.serving.router.upstream.thoughts import is_thinking_block
from p2l.serving.router.upstream_error import malformed

_KNOWN_FIELDS = {
    "text": ("type", "text", "citations"),
    "thinking": ("type", "thinking", "signature"),
    "tool_use": ("type", "id", "name", "input"),
}
_TEXT_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
# known deltas of known blocks; blocks and deltas of other kinds are carried as they come
_DELTAS = {
    "text": ("text_delta", "citations_delta"),
    "thinking": ("thinking_delta", "signature_delta"),
    "redacted_thinking": (),
    "tool_use": ("input_json_delta",),
}
_INPUT = "input"  # the field that input_json_delta writes, as text
_KNOWN_DELTAS = frozenset(name for names in _DELTAS.values() for name in names)


def block_delta(block: JSON, start: int) -> JSON:
    """Return what a complete block adds to a message.

    Args:
        block: of any kind; those without a counterpart are carried.
        start: number of characters of the content before it.
    """
    kind = block["type"]
    if kind == "text":
        return _text_delta(block, start)
    if is_thinking_block(block):
        return {**_reasoning(block), "thinking_blocks": [block]}  # the form of LiteLLM
    if kind == "thinking":
        return {**_reasoning(block), **carried(blocks=_rest(block))}
    if kind == "tool_use":
        return {"tool_calls": [_tool_call(block)]}
    return carried(blocks=[block])


def _reasoning(block: JSON) -> JSON:
    return {"reasoning_content": block["thinking"]} if block.get("thinking") else {}


def _text_delta(block: JSON, start: int) -> JSON:
    text = block["text"]
    span = {"start_index": start, "end_index": start + len(text)}
    citations = block.get("citations") or []
    annotations = [_annotation(citation, span) for citation in citations if _url(citation)]
    return {
        "content": text,
        **({"annotations": annotations} if annotations else {}),
        **carried(citations=[{**span, **citation} for citation in citations], blocks=_rest(block)),
    }


def _annotation(citation: JSON, span: JSON) -> JSON:
    return {"type": "url_citation", "url_citation": {"url": _url(citation), "title": citation.get("title"), **span}}


def _url(citation: JSON) -> str | None:
    url = citation.get("url") or citation.get("source")
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else None


def _rest(block: JSON) -> list[JSON]:
    """Return the block without the fields that have a counterpart; nothing if it has no others."""
    rest = {name: v for name, v in block.items() if name not in _KNOWN_FIELDS[block["type"]] and v is not None}
    return [{"type": block["type"], **rest}] if rest else []


def _tool_call(block: JSON) -> JSON:
    extra = {name: v for name, v in block.items() if name not in _KNOWN_FIELDS["tool_use"] and v is not None}
    function = {"name": block["name"], "arguments": dump_json(block.get("input") or {}).decode()}
    call: JSON = {"id": block["id"], "type": "function", "function": function}
    return {**call, "extra_content": {"anthropic": extra}} if extra else call


class BlockStream:
    """Turns the events of content blocks into deltas, in the order of the blocks' indexes.

    Events of a block wait until the blocks before it have stopped, so that its text does not end up inside theirs.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, deque[JSON]] = {}  # events of the blocks that have not stopped
        self._block: _OpenBlock | None = None  # the one whose deltas are passed on
        self._highest = -1  # index of the last block that began
        self._indexes = ListIndexes()
        self._num_characters = 0
        self._num_calls = 0

    def feed(self, event: JSON) -> Iterator[JSON]:
        """Yield the deltas of a content_block event."""
        index = event["index"]
        if event["type"] == "content_block_start":
            if index in self._waiting or index <= self._highest:
                raise malformed("a content block out of order")
            self._waiting[index] = deque()
        self._waiting[index].append(event)
        yield from self._advance()

    def close(self) -> Iterator[JSON]:
        """Yield the deltas of the blocks that have not stopped."""
        for index in sorted(self._waiting):
            yield from self.feed({"type": "content_block_stop", "index": index})

    def _advance(self) -> Iterator[JSON]:
        while self._waiting and (events := self._waiting[index := min(self._waiting)]):
            event = events.popleft()
            if event["type"] == "content_block_start":
                self._block, self._highest = self._begin(event["content_block"]), index
                delta = self._block.start()
            elif event["type"] == "content_block_delta":
                delta = self._open_block().add(event["delta"])
            else:
                delta = self._indexes.number(self._open_block().stop())
                del self._waiting[index]
            self._num_characters += len(delta.get("content") or "")
            if delta:
                yield delta

    def _begin(self, block: JSON) -> "_OpenBlock":
        call_index = self._num_calls
        self._num_calls += block["type"] == "tool_use"
        return _OpenBlock(block, self._num_characters, call_index)

    def _open_block(self) -> "_OpenBlock":
        assert self._block is not None, "a block's first event is its start"
        return self._block


class _OpenBlock:
    """A block that grows by deltas.

    Args:
        block: at its start.
        start: number of characters of the content before it.
        call_index: index of the tool call that it is, if it is one.
    """

    def __init__(self, block: JSON, start: int, call_index: int) -> None:
        self._block = dict(block)
        self._kind: str = block["type"]
        self._start = start
        self._call_index = call_index
        self._texts: dict[str, list[str]] = {}  # by field; joined once, when the block stops
        self._lists: dict[str, list[Any]] = {}

    def start(self) -> JSON:
        """Return what the block's start adds to the message."""
        if self._kind == "tool_use":
            call = _tool_call(self._block)
            function = {**call["function"], "arguments": ""}
            return {"tool_calls": [{"index": self._call_index, **call, "function": function}]}
        return _without_empty({"content": self._text("text"), "reasoning_content": self._text("thinking")})

    def _text(self, field: str) -> str:
        return (self._block.get(field) or "") if self._kind == field else ""

    def add(self, delta: JSON) -> JSON:
        """Add a delta to the block; return what it adds to the message."""
        kind = delta["type"]
        if kind in _KNOWN_DELTAS and kind not in _DELTAS.get(self._kind, _KNOWN_DELTAS):
            raise malformed(f"a {kind} in a block of another type")
        if kind in _TEXT_DELTAS:
            field = _TEXT_DELTAS[kind]
            text = self._add_text(field, delta[field])
            name = {"text": "content", "thinking": "reasoning_content"}.get(self._kind if self._kind == field else "")
            return _without_empty({name: text}) if name else {}
        if kind == "input_json_delta":
            return self._arguments(self._add_text(_INPUT, delta["partial_json"]))
        field, entry = ("citations", delta["citation"]) if kind == "citations_delta" else ("deltas", delta)
        self._lists.setdefault(field, []).append(entry)
        return {}

    def _add_text(self, field: str, text: object) -> str:
        if not isinstance(text, str):
            raise malformed("a delta whose text is none")
        self._texts.setdefault(field, []).append(text)
        return text

    def stop(self) -> JSON:
        """Return what the complete block adds to the message beside what has been passed on."""
        written = "".join(self._texts.pop(_INPUT, ()))
        if written:
            self._block["input"] = _input(written)
        for field, texts in self._texts.items():
            self._block[field] = "".join((self._block.get(field) or "", *texts))
        for field, entries in self._lists.items():
            self._block[field] = [*(self._block.get(field) or ()), *entries]
        rest = block_delta(self._block, self._start)
        for streamed in ("content", "reasoning_content", "tool_calls"):
            rest.pop(streamed, None)
        if self._kind == "tool_use":
            rest |= {} if written else self._arguments(dump_json(self._block.get("input") or {}).decode())
            rest |= carried(blocks=[{"type": "tool_use", "deltas": d}] if (d := self._block.get("deltas")) else [])
        return rest

    def _arguments(self, text: str) -> JSON:
        if self._kind != "tool_use" or not text:
            return {}
        return {"tool_calls": [{"index": self._call_index, "function": {"arguments": text}}]}


def _without_empty(delta: JSON) -> JSON:
    return {name: text for name, text in delta.items() if text}


def _input(written: str) -> Any:
    """Return the parsed input of a tool; text that is not JSON stays as it is."""
    try:
        return loads(written.encode("utf-8", "surrogatepass"))[0]
    except ValueError:
        return written
