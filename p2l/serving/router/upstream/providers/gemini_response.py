"""Answers and streams of Google's Gemini API (https://ai.google.dev/api/generate-content), v1beta."""

import time
import uuid
from collections.abc import Iterator

from p2l.serving.router.accounts.answer_tally import Coverage
from p2l.serving.router.accounts.token_usage import count_tokens
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.chat_answer import unfinished
from p2l.serving.router.upstream.providers.gemini_parts import part_delta
from p2l.serving.router.upstream.providers.message_delta import ListIndexes, add_delta, carried
from p2l.serving.router.upstream.providers.openai_messages import chunk
from p2l.serving.router.upstream.upstream_request import UsageReport
from p2l.serving.router.upstream_error import FILTERED, malformed

# every other reason (MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, OTHER, NO_IMAGE, ...) is a failure
_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": FILTERED,
    "RECITATION": FILTERED,
    "BLOCKLIST": FILTERED,
    "PROHIBITED_CONTENT": FILTERED,
    "SPII": FILTERED,
    "LANGUAGE": FILTERED,
    "IMAGE_SAFETY": FILTERED,
    "IMAGE_PROHIBITED_CONTENT": FILTERED,
    "IMAGE_RECITATION": FILTERED,
}
# the ratings and averages say nothing that a client of OpenAI's API could use
_KNOWN_FIELDS = ("content", "finishReason", "index", "safetyRatings", "tokenCount", "avgLogprobs")
_KNOWN_EVENT_FIELDS = (
    *("candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId"),
    *("createTime", "modelStatus", "error"),
)


def parse_completion(payload: JSON) -> JSON:
    """Translate generated content to a chat completion."""
    choices = [_choice(candidate, index) for index, candidate in enumerate(_candidates(payload))]
    if choices:
        add_delta(choices[0]["message"], _unknown_fields(payload))
    return {
        **_head(payload, "chat.completion"),
        "choices": choices,
        "usage": _usage(payload.get("usageMetadata") or {}),
    }


def _candidates(payload: JSON) -> list[JSON]:
    candidates = payload.get("candidates")
    if not candidates and (payload.get("promptFeedback") or {}).get("blockReason"):
        return [{"content": {"parts": []}, "finishReason": "SAFETY", "promptFeedback": payload["promptFeedback"]}]
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
    message: JSON = {"role": "assistant", "content": "", "refusal": None}
    for part in _parts(candidate):
        add_delta(message, part_delta(part))
    if not message["content"] and "tool_calls" in message:
        message["content"] = None
    add_delta(message, _other_fields(candidate))
    for position, image in enumerate(message.get("images") or ()):
        image["index"] = position
    finish = _finish(candidate.get("finishReason"), called="tool_calls" in message)
    return {"index": candidate.get("index", index), "message": message, "logprobs": None, "finish_reason": finish}


def _parts(candidate: JSON) -> list[JSON]:
    return (candidate.get("content") or {}).get("parts") or []


def _other_fields(candidate: JSON) -> JSON:
    """Return the delta that carries the fields of a candidate without a counterpart, such as groundingMetadata."""
    others = {name: value for name, value in candidate.items() if name not in _KNOWN_FIELDS and value}
    return carried(candidates=[others] if others else [])


def _unknown_fields(payload: JSON) -> JSON:
    unknown = {name: value for name, value in payload.items() if name not in _KNOWN_EVENT_FIELDS and value}
    return carried(events=[{"event": unknown}] if unknown else [])


def _finish(reason: object, *, called: bool) -> str:
    """Return OpenAI's finish reason; UpstreamError if the model gave up."""
    if not isinstance(reason, str) or reason not in _FINISH:
        raise unfinished(reason)
    return "tool_calls" if called and reason == "STOP" else _FINISH[reason]


def _usage(usage: JSON) -> JSON:
    """Translate usage; thoughts are charged as output, and so is what the total has beyond the other counts."""
    thoughts, cached = (count_tokens(usage, f"{name}TokenCount") or 0 for name in ("thoughts", "cachedContent"))
    prompt = sum(count_tokens(usage, f"{name}TokenCount") or 0 for name in ("prompt", "toolUsePrompt"))
    completion = (count_tokens(usage, "candidatesTokenCount") or 0) + thoughts
    completion = max(completion, (count_tokens(usage, "totalTokenCount") or 0) - prompt)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


def usage_of(payload: JSON) -> object:
    """Return the usage in an answer; None if it has none."""
    return _usage(payload["usageMetadata"]) if payload.get("usageMetadata") else None


def _coverage(usage: JSON) -> Coverage:
    """Return what a usage counts: within a stream, some models leave out the tokens of the text."""
    known, thoughts = _usage(usage), count_tokens(usage, "thoughtsTokenCount") or 0
    if known["completion_tokens"] > thoughts:
        return "text"
    return "thoughts" if thoughts else "prompt"


class Translator:
    """Translates a stream; each event has the form of an answer with partial content."""

    ended = False  # only the end of the connection shows it

    def __init__(self) -> None:
        self._head: JSON | None = None
        self._choices: dict[int, _StreamedChoice] = {}
        self._usage: JSON = {}
        self._coverage: Coverage | None = None  # of a usage that no one has taken; the client gets it at the end

    def translate(self, event: JSON) -> Iterator[JSON]:
        if self._head is None:
            self._head = _head(event, "chat.completion.chunk")
        usage = event.get("usageMetadata")
        if usage and isinstance(usage, dict):
            self._usage, self._coverage = {**self._usage, **usage}, _coverage(usage)
        has_answer = "candidates" in event or "promptFeedback" in event
        for position, candidate in enumerate(_candidates(event) if has_answer else ()):
            yield from self._candidate(candidate, position)
        if unknown := _unknown_fields(event):
            yield self._chunk(0, self._choice(0).number(unknown))

    def take_usage(self) -> UsageReport | None:
        coverage, self._coverage = self._coverage, None
        return None if coverage is None else UsageReport(_usage(self._usage), coverage)

    def close(self) -> Iterator[JSON]:
        if self._head is not None and self._usage:
            yield {**self._head, "choices": [], "usage": _usage(self._usage)}

    def _candidate(self, candidate: JSON, position: int) -> Iterator[JSON]:
        index = candidate.get("index", position)
        choice = self._choice(index)
        delta = choice.add(candidate)
        reason = candidate.get("finishReason")
        finish = None if reason is None else _finish(reason, called=choice.num_calls > 0)
        if delta or finish:
            yield self._chunk(index, delta, finish)

    def _choice(self, index: int) -> "_StreamedChoice":
        return self._choices.setdefault(index, _StreamedChoice())

    def _chunk(self, index: int, delta: JSON, finish: str | None = None) -> JSON:
        assert self._head is not None, "the first event gives it"
        return chunk(self._head, delta, index=index, finish_reason=finish)


class _StreamedChoice:
    """Numbers what the events add to one choice."""

    def __init__(self) -> None:
        self.num_calls = 0
        self._has_role = False
        self._indexes = ListIndexes()

    def add(self, candidate: JSON) -> JSON:
        """Return the delta of a candidate's parts and other fields."""
        delta: JSON = {} if self._has_role else {"role": "assistant", "content": ""}
        self._has_role = True
        for part in _parts(candidate):
            add_delta(delta, part_delta(part))
        add_delta(delta, _other_fields(candidate))
        for call in delta.get("tool_calls") or ():
            call["index"] = self.num_calls
            self.num_calls += 1
        return self.number(delta)

    def number(self, delta: JSON) -> JSON:
        return self._indexes.number(delta)
