"""Render the chunks of a chat as the events of OpenAI's Responses API."""

from collections.abc import Iterator
from typing import Any

from p2l.serving.router.api.answer_parts import carried_beside, carried_of, reasoning_in, thoughts_in
from p2l.serving.router.api.chat_of_response import SEALED_THOUGHTS
from p2l.serving.router.api.response_answer import ending, response_head, response_usage
from p2l.serving.router.api.response_items import CallItem, MessageItem, OutputItem, ReasoningItem
from p2l.serving.router.api.response_tools import tool_names
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.message_delta import CARRIED, add_delta


class ResponseEvents:
    """The events of one answer: ``feed`` each chunk, then read ``end``, whose last event has the whole response.

    Reasoning and text end when another item begins. Calls end with the answer, since a provider may mix their pieces.

    Args:
        body: of the request.
        name: decision of the router, which the ids are made of.
        model: named in the response if the provider names none.

    Attributes:
        number: of the next event.
    """

    def __init__(self, body: JSON, *, name: str, model: str) -> None:
        self._body, self._name, self._model = body, name, model
        self.number = 0
        self._response: JSON = {}  # empty until the first chunk
        self._items: list[JSON] = []  # whole ones, by their places
        self._open: ReasoningItem | MessageItem | None = None
        self._calls: dict[object, CallItem] = {}
        self._count = 0  # of the items that have begun
        self._reason: object = None
        self._usage: object = None
        self._carried: JSON = {}

    def feed(self, chunk: JSON) -> Iterator[JSON]:
        """Yield the events of a chunk; UpstreamError if a tool call is malformed."""
        if not self._response:
            yield from self._begin(chunk)
        self._usage = chunk.get("usage") or self._usage
        if chunk.get("service_tier"):
            self._response["service_tier"] = chunk["service_tier"]
        self._carried |= carried_beside({k: v for k, v in chunk.items() if k != "service_tier"}, {})
        for choice in chunk.get("choices") or ():
            self._reason = choice.get("finish_reason") or self._reason
            self._carried |= carried_beside({}, choice)
            add_delta(self._carried, carried_of(choice["delta"]))
            yield from self._delta(choice["delta"], _logprobs(choice))

    def end(self, cost: float | None) -> Iterator[JSON]:
        """Yield what follows the last chunk; ``cost``: of the answer, if the headers could not state it."""
        end = ending(self._reason)
        items: list[OutputItem] = [*self._calls.values()]
        if self._open is not None:
            items = sorted([self._open, *items], key=lambda item: item.index)
        for item in items:
            is_cut = end["status"] == "incomplete" and item is items[-1]
            yield from self._end_item(item, "incomplete" if is_cut else "completed")
        self._response |= {**end, "output": self._items, "usage": response_usage(self._usage)}
        if self._carried:
            self._response[CARRIED] = self._carried
        if cost is not None:
            self._response["cost"] = cost
        yield self._event({"type": f"response.{end['status']}", "response": self._response})

    def _begin(self, chunk: JSON) -> Iterator[JSON]:
        self._response = response_head(chunk, self._body, name=f"resp_{self._name}", model=self._model)
        for kind in ("response.created", "response.in_progress"):
            yield self._event({"type": kind, "response": dict(self._response)})

    def _delta(self, delta: JSON, logprobs: list[JSON]) -> Iterator[JSON]:
        yield from self._thoughts(delta)
        for field, kind in (("content", "text"), ("refusal", "refusal")):
            text = delta.get(field)
            if isinstance(text, str) and text:
                if not isinstance(self._open, MessageItem):
                    yield from self._begin_open(MessageItem(self._count, self._name))
                assert isinstance(self._open, MessageItem)
                yield from map(self._event, self._open.add(kind, text, logprobs if kind == "text" else []))
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _thoughts(self, delta: JSON) -> Iterator[JSON]:
        blocks = thoughts_in(delta)
        pieces = [block.get("thinking") or "" for block in blocks if block.get("type") == "thinking"]
        told, signed = reasoning_in(delta), "".join(pieces)
        if not told and not blocks:
            return
        if not isinstance(self._open, ReasoningItem):
            seals = SEALED_THOUGHTS in (self._body.get("include") or ())
            yield from self._begin_open(ReasoningItem(self._count, self._name, seals=seals))
        assert isinstance(self._open, ReasoningItem)
        if told or not self._open.is_told:  # a signed block repeats the text that came before it
            yield from map(self._event, self._open.add(told or signed))
        self._open.is_told = self._open.is_told or bool(told)
        for block in blocks:
            self._open.sign(block)

    def _call(self, call: JSON) -> Iterator[JSON]:
        index = call.get("index")
        if index not in self._calls:
            item = CallItem(self._count, self._name, call, tool_names(self._body))
            yield from self._end_open()
            self._calls[index] = item
            yield from self._begin_item(item)
        yield from map(self._event, self._calls[index].add(call))

    def _begin_open(self, item: ReasoningItem | MessageItem) -> Iterator[JSON]:
        yield from self._end_open()
        self._open = item
        yield from self._begin_item(item)

    def _end_open(self) -> Iterator[JSON]:
        if self._open is not None:
            yield from self._end_item(self._open, "completed")
            self._open = None

    def _begin_item(self, item: OutputItem) -> Iterator[JSON]:
        self._count += 1
        self._items.append({})  # its place
        yield from map(self._event, item.begin())

    def _end_item(self, item: OutputItem, status: str) -> Iterator[JSON]:
        for event in item.end(status):
            yield self._event(event)
        self._items[item.index] = event["item"]

    def _event(self, event: JSON) -> JSON:
        number, self.number = self.number, self.number + 1
        return {**event, "sequence_number": number}


def _logprobs(choice: JSON) -> list[JSON]:
    """Return the log probabilities of a delta's text, which have the same form in both APIs."""
    given: Any = choice.get("logprobs")
    found = given.get("content") if isinstance(given, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
