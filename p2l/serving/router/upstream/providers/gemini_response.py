"""Answers and streams of Google's Gemini API (https://ai.google.dev/api/generate-content), v1beta."""

import time
import uuid
from collections.abc import Iterator

import orjson

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.openai_messages import chunk
from p2l.serving.router.upstream_error import UpstreamError, malformed

_BLOCKED = frozenset(
    [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "LANGUAGE",
        "IMAGE_PROHIBITED_CONTENT",
    ]
)


def parse_completion(payload: JSON) -> JSON:
    """Translate generated content to a chat completion."""
    choices = [_choice(candidate, index) for index, candidate in enumerate(_candidates(payload))]
    return {
        **_head(payload, "chat.completion"),
        "choices": choices,
        "usage": _usage(payload.get("usageMetadata") or {}),
    }


def _candidates(payload: JSON) -> list[JSON]:
    candidates = payload.get("candidates")
    if candidates is None and (payload.get("promptFeedback") or {}).get("blockReason"):
        return [{"content": {"parts": []}, "finishReason": "SAFETY"}]
    if not isinstance(candidates, list) or not all(isinstance(candidate, dict) for candidate in candidates):
        raise malformed("an answer without candidates")
    return candidates


def _head(payload: JSON, kind: str) -> JSON:
    return {
        "id": payload.get("responseId") or f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": payload.get("modelVersion"),
    }


def _choice(candidate: JSON, index: int) -> JSON:
    content, thoughts, calls = _read_parts(candidate)
    message: JSON = {"role": "assistant", "content": content if content or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    finish = _finish(candidate, bool(calls))
    return {"index": candidate.get("index", index), "message": message, "logprobs": None, "finish_reason": finish}


def _read_parts(candidate: JSON) -> tuple[str, str, list[JSON]]:
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(p["text"] for p in parts if isinstance(p.get("text"), str) and not p.get("thought"))
    thoughts = "".join(p["text"] for p in parts if isinstance(p.get("text"), str) and p.get("thought"))
    return text, thoughts, [_call(part) for part in parts if part.get("functionCall")]


def _call(part: JSON) -> JSON:
    function_call = part["functionCall"]
    arguments = orjson.dumps(function_call.get("args") or {}).decode()
    call: JSON = {
        "id": function_call.get("id") or f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": function_call.get("name"), "arguments": arguments},
    }
    if part.get("thoughtSignature"):  # later models require it back with the call
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def _finish(candidate: JSON, called: bool) -> str | None:
    reason = candidate.get("finishReason")
    if reason is None:
        return None
    if reason in _BLOCKED:
        return "content_filter"
    return "length" if reason == "MAX_TOKENS" else "tool_calls" if called else "stop"


def _usage(usage: JSON) -> JSON:
    """Translate usage; thoughts are charged as output."""
    thoughts = usage.get("thoughtsTokenCount") or 0
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    completion = (usage.get("candidatesTokenCount") or 0) + thoughts
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount") or 0},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


class StreamParser:
    """Translates a stream to chunks; each event has the form of an answer with partial content."""

    def __init__(self) -> None:
        self.finished = False
        self.ended = False  # only the end of the connection shows it
        self._head: JSON | None = None
        self._num_calls: dict[int, int] = {}
        self._begun: set[int] = set()
        self._complete: set[int] = set()

    def parse(self, data: bytes) -> Iterator[JSON]:
        try:
            payload = orjson.loads(data)
            if payload.get("error"):
                raise UpstreamError("stream_error", "the model reported an error in its stream")
            yield from self._chunks(payload)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise malformed("an event that is not in its form") from None

    def _chunks(self, payload: JSON) -> Iterator[JSON]:
        first = self._head is None
        if self._head is None:
            self._head = _head(payload, "chat.completion.chunk")
        candidates = [] if "candidates" not in payload and "promptFeedback" not in payload else _candidates(payload)
        for position, candidate in enumerate(candidates):
            index = candidate.get("index", position)
            text, thoughts, calls = _read_parts(candidate)
            delta: JSON = {"role": "assistant"} if first else {}
            delta |= {"content": text} if text or first else {}
            delta |= {"reasoning_content": thoughts} if thoughts else {}
            seen = self._num_calls.get(index, 0)
            delta |= {"tool_calls": [{"index": seen + i, **call} for i, call in enumerate(calls)]} if calls else {}
            self._num_calls[index] = seen + len(calls)
            finish = _finish(candidate, seen + len(calls) > 0)
            self._begun.add(index)
            if finish is not None:
                self._complete.add(index)
            if delta or finish:
                yield chunk(self._head, delta, index=index, finish_reason=finish)
        self.finished = bool(self._begun) and self._begun == self._complete
        if self.finished and payload.get("usageMetadata"):
            yield {**self._head, "choices": [], "usage": _usage(payload["usageMetadata"])}
