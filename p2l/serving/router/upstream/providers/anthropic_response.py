"""Answers and streams of Anthropic's Messages API (https://docs.anthropic.com/en/api/messages), version 2023-06-01."""

import time
from collections.abc import Callable, Iterator

from p2l.serving.router.accounts.token_usage import count_tokens
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.chat_answer import unfinished
from p2l.serving.router.upstream.providers.anthropic_blocks import BlockStream, block_delta
from p2l.serving.router.upstream.providers.message_delta import ListIndexes, add_delta, carried
from p2l.serving.router.upstream.providers.openai_messages import chunk
from p2l.serving.router.upstream.thoughts import ORDERED_CONTENT
from p2l.serving.router.upstream.upstream_request import UsageReport
from p2l.serving.router.upstream_error import malformed

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    # the turn is not over: it goes on when the answer is sent back
    "pause_turn": "length",
    "compaction": "length",
    "refusal": "content_filter",
}
_PLAIN = ("end_turn", "tool_use", "max_tokens")  # OpenAI's reason says as much
_KNOWN_FIELDS = ("id", "type", "role", "model", "content", "stop_reason", "usage")


def finish_reason(reason: object) -> str:
    """Return OpenAI's finish reason; UpstreamError if there is none for this stop reason."""
    if not isinstance(reason, str) or reason not in FINISH_REASONS:
        raise unfinished(reason)
    return FINISH_REASONS[reason]


def parse_completion(payload: JSON, finish: Callable[[object], str] = finish_reason) -> JSON:
    """Translate a message to a chat completion; ``finish`` translates its stop reason."""
    blocks = payload.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise malformed("an answer without content")
    message: JSON = {"role": "assistant", "content": "", "refusal": None}
    for block in blocks:
        add_delta(message, block_delta(block, len(message["content"])))
    if "tool_calls" in message and not any(block["type"] == "text" for block in blocks):
        message["content"] = None
    reason = payload.get("stop_reason")
    add_delta(message, _ending(reason, payload))
    return {
        "id": payload.get("id"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": payload.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish(reason)}],
        "usage": _usage(payload.get("usage") or {}),
        **({ORDERED_CONTENT: blocks} if "thinking_blocks" in message and "tool_calls" in message else {}),
    }


def _ending(reason: object, fields: JSON) -> JSON:
    """Return the delta that carries the other fields of a message, and a stop reason that says more than OpenAI's."""
    others = {name: value for name, value in fields.items() if name not in _KNOWN_FIELDS}
    return carried(stop_reason=None if reason in _PLAIN else reason, **others)


_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_CACHE_COUNTS = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")


def _usage(usage: JSON) -> JSON:
    """Translate usage; tokens read from or written to the cache are part of the prompt.

    The counts of the cache keep the provider's names beside OpenAI's, which have none for writes.
    """
    plain, cached, written, completion = (count_tokens(usage, name) or 0 for name in _COUNTS)
    prompt = plain + cached + written
    return {
        **{name: usage[name] for name in _CACHE_COUNTS if usage.get(name)},
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def usage_of(payload: JSON) -> object:
    """Return the usage in a message; None if it has none."""
    return _usage(payload["usage"]) if payload.get("usage") else None


class Translator:
    """Translates the events of a stream, from message_start to message_stop; ``finish`` translates its stop reason."""

    def __init__(self, finish: Callable[[object], str] = finish_reason) -> None:
        self._finish = finish
        self.ended = False
        self._head: JSON | None = None
        self._usage: JSON = {}
        self._has_news = False  # in the usage, which the client gets at the end
        self._fields: JSON = {}
        self._reason: object = None
        self._blocks = BlockStream()
        self._indexes = ListIndexes()

    def translate(self, event: JSON) -> Iterator[JSON]:
        kind = event["type"]
        if kind == "ping":
            return
        if kind == "message_start":
            yield from self._start(event["message"])
        elif kind in ("content_block_start", "content_block_delta", "content_block_stop"):
            yield from map(self._chunk, self._blocks.feed(event))
        elif kind == "message_delta":
            self._update(event)
        elif kind == "message_stop":
            yield from self._stop()
        else:
            yield self._chunk(self._indexes.number(carried(events=[{"event": event}])))

    def take_usage(self) -> UsageReport | None:
        has_news, self._has_news = self._has_news, False
        return UsageReport(_usage(self._usage), "text") if has_news else None

    def close(self) -> Iterator[JSON]:
        yield from ()

    def _chunk(self, delta: JSON, finish_reason: str | None = None) -> JSON:
        if self._head is None:
            raise malformed("an event before message_start")
        return chunk(self._head, delta, finish_reason=finish_reason)

    def _start(self, message: JSON) -> Iterator[JSON]:
        if self._head is not None:
            raise malformed("a second message_start")
        self._usage = dict(message.get("usage") or {})
        self._has_news = bool(self._usage)
        self._fields = {name: value for name, value in message.items() if name not in _KNOWN_FIELDS}
        self._head = {
            "id": message["id"],
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": message["model"],
        }
        yield self._chunk({"role": "assistant", "content": ""})
        for index, block in enumerate(message.get("content") or ()):
            start = {"type": "content_block_start", "index": index, "content_block": block}
            yield from map(self._chunk, self._blocks.feed(start))
            yield from map(self._chunk, self._blocks.feed({"type": "content_block_stop", "index": index}))

    def _update(self, event: JSON) -> None:
        """Keep what message_delta says of the whole message until its end."""
        self._usage |= {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
        self._has_news = bool(self._usage)
        others = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self._fields |= {name: value for name, value in {**others, **event["delta"]}.items() if value is not None}
        self._reason = self._fields.pop("stop_reason", self._reason)

    def _stop(self) -> Iterator[JSON]:
        yield from map(self._chunk, self._blocks.close())
        if self._reason is not None:
            yield self._chunk(_ending(self._reason, self._fields), self._finish(self._reason))
        self.ended = True
        yield {**(self._head or {}), "choices": [], "usage": _usage(self._usage)}
