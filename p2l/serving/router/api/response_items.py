"""The output items of a response while they are streamed: reasoning, a message, a call of a tool.

An item yields events without their sequence number: what begins it, its pieces, and what ends it.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from p2l.serving.router.api.response_tools import ToolName, input_of_arguments
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.sealed_thoughts import ROUTER_REASONING, seal
from p2l.serving.router.upstream.thoughts import is_thinking_block
from p2l.serving.router.upstream_error import malformed


@runtime_checkable
class OutputItem(Protocol):
    """One item.

    Attributes:
        index: place in the output.
    """

    index: int

    def begin(self) -> Iterator[JSON]:
        """Yield the events before the first piece."""

    def end(self, status: str) -> Iterator[JSON]:
        """Yield the events after the last piece; the last one has the whole item."""


def _added(item: "OutputItem", shown: JSON) -> JSON:
    return {"type": "response.output_item.added", "output_index": item.index, "item": shown}


def _done(item: "OutputItem", shown: JSON) -> JSON:
    return {"type": "response.output_item.done", "output_index": item.index, "item": shown}


class ReasoningItem:
    """Thoughts: their text as a summary, and what is signed as encrypted content if the client asks for it.

    Attributes:
        is_told: whether the text of the block under way has come apart from it.
    """

    def __init__(self, index: int, response: str, *, seals: bool) -> None:
        self.index, self._seals = index, seals
        self.is_told = False
        self._id = f"{ROUTER_REASONING}{response}_{index}"
        self._texts: list[str] = []
        self._unsigned: list[str] = []  # of the block under way
        self._blocks: list[JSON] = []

    def begin(self) -> Iterator[JSON]:
        yield _added(self, {"type": "reasoning", "id": self._id, "summary": []})

    def add(self, text: str) -> Iterator[JSON]:
        """Yield the events of a piece of text."""
        if not text:
            return
        if not self._texts:
            yield self._event("part.added", part={"type": "summary_text", "text": ""})
        self._texts.append(text)
        yield self._event("text.delta", delta=text)

    def sign(self, block: JSON) -> None:
        """Keep a block of thinking, or a piece of one: a stream has the text in pieces and the signature last."""
        if block.get("type") == "thinking":
            self._unsigned.append(block.get("thinking") or "")
        if is_thinking_block(block):
            whole = {"thinking": "".join(self._unsigned)} if block["type"] == "thinking" else {}
            self._blocks.append({name: value for name, value in {**block, **whole}.items() if name != "index"})
            self._unsigned, self.is_told = [], False

    def end(self, status: str) -> Iterator[JSON]:
        text = "".join(self._texts)
        parts = [{"type": "summary_text", "text": text}] if text else []
        for part in parts:
            yield self._event("text.done", text=text)
            yield self._event("part.done", part=part)
        sealed = {"encrypted_content": seal(self._blocks)} if self._seals and self._blocks else {}
        yield _done(self, {"type": "reasoning", "id": self._id, "summary": parts, **sealed})

    def _event(self, kind: str, **fields: object) -> JSON:
        place = {"item_id": self._id, "output_index": self.index, "summary_index": 0}
        return {"type": f"response.reasoning_summary_{kind}", **place, **fields}


class MessageItem:
    """Text, and refusals; each kind is a part of its own."""

    def __init__(self, index: int, response: str) -> None:
        self.index = index
        self._id = f"msg_{response}_{index}"
        self._parts: list[JSON] = []
        self._kind = ""  # of the part under way: text or refusal
        self._texts: list[str] = []
        self._logprobs: list[JSON] = []

    def begin(self) -> Iterator[JSON]:
        yield _added(self, self._shown("in_progress"))

    def add(self, kind: str, text: str, logprobs: list[JSON]) -> Iterator[JSON]:
        """Yield the events of a piece of text; ``kind``: text or refusal."""
        if kind != self._kind:
            yield from self._end_part()
            self._kind = kind
            yield self._event("content_part.added", part=self._part(""))
        self._texts.append(text)
        self._logprobs += logprobs
        yield self._event(f"{self._name()}.delta", delta=text, **self._beside(logprobs))

    def end(self, status: str) -> Iterator[JSON]:
        yield from self._end_part()
        yield _done(self, self._shown(status))

    def _end_part(self) -> Iterator[JSON]:
        if not self._kind:
            return
        text, part = "".join(self._texts), self._part("".join(self._texts))
        yield self._event(f"{self._name()}.done", **{self._kind: text}, **self._beside(self._logprobs))
        yield self._event("content_part.done", part=part)
        self._parts.append(part)
        self._kind, self._texts, self._logprobs = "", [], []

    def _name(self) -> str:
        return "output_text" if self._kind == "text" else "refusal"

    def _beside(self, logprobs: list[JSON]) -> JSON:
        return {"logprobs": logprobs} if self._kind == "text" else {}

    def _part(self, text: str) -> JSON:
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._logprobs if text else []}

    def _event(self, kind: str, **fields: object) -> JSON:
        place = {"item_id": self._id, "output_index": self.index, "content_index": len(self._parts)}
        return {"type": f"response.{kind}", **place, **fields}

    def _shown(self, status: str) -> JSON:
        return {"type": "message", "id": self._id, "status": status, "role": "assistant", "content": self._parts[:]}


class CallItem:
    """A call of a function or custom tool; the input of the latter comes whole, since its arguments wrap it."""

    def __init__(self, index: int, response: str, call: JSON, names: Mapping[str, ToolName]) -> None:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise malformed("a tool call without the name of a function")
        self.index = index
        name, namespace, self._is_custom = names.get(function["name"], ToolName(function["name"]))
        self._id = f"{'ctc' if self._is_custom else 'fc'}_{response}_{index}"
        self._named = {"call_id": call.get("id") or f"call_{response}_{index}", "name": name}
        self._named |= {} if namespace is None else {"namespace": namespace}
        self._extra: JSON = {}
        self._pieces: list[str] = []

    def begin(self) -> Iterator[JSON]:
        yield _added(self, self._shown("", "in_progress"))

    def add(self, call: JSON) -> Iterator[JSON]:
        """Yield the events of a piece of the call."""
        if call.get("extra_content"):
            self._extra = {"extra_content": call["extra_content"]}  # the signature of a thought of Gemini
        arguments = (call.get("function") or {}).get("arguments")
        if isinstance(arguments, str) and arguments:
            self._pieces.append(arguments)
            if not self._is_custom:
                yield self._event("function_call_arguments.delta", delta=arguments)

    def end(self, status: str) -> Iterator[JSON]:
        given = "".join(self._pieces)
        if self._is_custom:
            given = input_of_arguments(given)
            yield self._event("custom_tool_call_input.delta", delta=given)
            yield self._event("custom_tool_call_input.done", input=given)
        else:
            given = given or "{}"
            yield self._event("function_call_arguments.done", name=self._named["name"], arguments=given)
        yield _done(self, {**self._shown(given, status), **self._extra})

    def _event(self, kind: str, **fields: object) -> JSON:
        return {"type": f"response.{kind}", "item_id": self._id, "output_index": self.index, **fields}

    def _shown(self, given: str, status: str) -> JSON:
        head = {"type": "custom_tool_call" if self._is_custom else "function_call", "id": self._id, "status": status}
        return {**head, **self._named, "input" if self._is_custom else "arguments": given}
