"""Render the chunks of a chat as the events of Anthropic's Messages API."""

from collections.abc import Iterator

from p2l.serving.router.accounts.answer_tally import output_characters
from p2l.serving.router.api.answer_parts import carried_beside, carried_of, reasoning_in, thoughts_in
from p2l.serving.router.api.message_answer import ending, message_head, message_usage, tool_use
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.message_delta import CARRIED, add_delta
from p2l.serving.router.upstream_error import malformed

_EMPTY: dict[str, JSON] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class MessageEvents:
    """The events of one stream: ``feed`` each chunk, then read ``end``.

    One block is open at a time. Pieces of a second tool call wait until the first one is over, since a provider may
    still send pieces of that.

    Args:
        as_chat: the request, for an estimate of a missing usage.
        model: named in the message if the provider names none.
        shows_thinking: whether the client asked for thinking; else it is left out.
    """

    def __init__(self, as_chat: JSON, *, model: str, shows_thinking: bool) -> None:
        self._as_chat, self._model, self._shows_thinking = as_chat, model, shows_thinking
        self._begun = False
        self._index = -1  # of the last block that began
        self._open: str | None = None  # kind of the block that has not stopped
        self._call: object = None  # index of the tool call that is the open block
        self._waiting: dict[object, list[JSON]] = {}  # pieces of the calls after it
        self._called: set[object] = set()
        self._refuses = False
        self._last: JSON = {}  # choice with a finish reason
        self._usage: object = None
        self._num_characters = 0
        self._carried: JSON = {}

    def feed(self, chunk: JSON) -> Iterator[JSON]:
        """Yield the events of one chunk; UpstreamError if a tool call goes on after its end."""
        if not self._begun and chunk.get("choices"):  # before it, Azure sends a chunk without id and model
            self._begun = True
            yield from _start(chunk, self._model)
        self._num_characters += output_characters(chunk)
        self._usage = chunk.get("usage") or self._usage
        self._carried |= carried_beside(chunk, {})
        for choice in chunk.get("choices") or ():
            delta = choice["delta"]
            self._last = choice if choice.get("finish_reason") else self._last
            self._carried |= carried_beside({}, choice)
            add_delta(self._carried, carried_of(delta))
            yield from self._delta(delta)

    def end(self, cost: float | None = None) -> Iterator[JSON]:
        """Yield what follows the last chunk; ``cost``: of the answer, if the headers could not state it."""
        yield from self._close()
        yield {
            "type": "message_delta",
            "delta": ending(self._last, self._as_chat, calls=bool(self._called), refuses=self._refuses),
            "usage": message_usage(self._usage, self._as_chat, self._num_characters),
            **({CARRIED: self._carried} if self._carried else {}),
        }
        yield {"type": "message_stop", **({} if cost is None else {"cost": cost})}

    def _delta(self, delta: JSON) -> Iterator[JSON]:
        if self._shows_thinking:
            yield from self._thoughts(delta)
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._refuses = self._refuses or name == "refusal"
                yield from self._piece("text", {"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or ():
            yield from self._tool_call(call)

    def _thoughts(self, delta: JSON) -> Iterator[JSON]:
        """Yield the thoughts of a delta; signed blocks come in pieces, their signature last."""
        blocks = thoughts_in(delta)
        pieces = [block.get("thinking") or "" for block in blocks if block.get("type") == "thinking"]
        if text := reasoning_in(delta) or "".join(pieces):
            yield from self._piece("thinking", {"type": "thinking_delta", "thinking": text})
        for block in blocks:
            if block.get("type") == "redacted_thinking":
                yield from self._begin(block, "redacted_thinking")
                yield from self._close()
            elif signature := block.get("signature"):
                yield from self._piece("thinking", {"type": "signature_delta", "signature": signature})
                yield from self._close()

    def _piece(self, kind: str, delta: JSON) -> Iterator[JSON]:
        """Yield a delta of text or thinking, in a block of its own if another one is open."""
        if self._open != kind:
            yield from self._begin(dict(_EMPTY[kind]), kind)
        yield self._block_delta(delta)

    def _tool_call(self, call: JSON) -> Iterator[JSON]:
        index = call.get("index")
        if self._open == "tool_use" and index != self._call:
            self._waiting.setdefault(index, []).append(call)
            return
        if self._open != "tool_use" and index in self._called:
            raise malformed("a tool call that goes on after its end")
        if self._open != "tool_use":
            self._call = index
            self._called.add(index)
            yield from self._begin(tool_use(call), "tool_use")
        if arguments := (call.get("function") or {}).get("arguments"):
            yield self._block_delta({"type": "input_json_delta", "partial_json": arguments})

    def _begin(self, block: JSON, kind: str) -> Iterator[JSON]:
        yield from self._close()
        self._index += 1
        self._open = kind
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _block_delta(self, delta: JSON) -> JSON:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterator[JSON]:
        """Yield the end of the open block, and the calls that wait for it."""
        if self._open is None:
            return
        yield {"type": "content_block_stop", "index": self._index}
        self._open = None
        while self._waiting:
            for call in self._waiting.pop(next(iter(self._waiting))):
                yield from self._tool_call(call)
            yield {"type": "content_block_stop", "index": self._index}
            self._open = None


def _start(chunk: JSON, model: str) -> Iterator[JSON]:
    """Yield the start of a message; its tokens are known at its end."""
    empty: JSON = {"content": [], "stop_reason": None, "stop_sequence": None}
    usage = {"input_tokens": 0, "output_tokens": 0}
    yield {"type": "message_start", "message": {**message_head(chunk, model), **empty, "usage": usage}}
    yield {"type": "ping"}
