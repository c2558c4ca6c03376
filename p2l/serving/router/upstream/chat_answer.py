"""Check chat completions and their chunks, whichever provider they came from: an answer is whole, or it is an error."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from p2l.serving.http.json_text import dump_json
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.upstream_request import UsageReport
from p2l.serving.router.upstream_error import FILTERED, UpstreamError, malformed

# what compatible servers write when an answer failed: vLLM "abort", OpenRouter "error", DeepSeek
# "insufficient_system_resource", Gemini "function_call_filter: MALFORMED_FUNCTION_CALL"
_FAILED = re.compile(r"error|abort|cancel|malformed|unexpected_tool|insufficient_system|timeout|failed", re.IGNORECASE)
_MAX_REASON = 64  # characters


def cut_off() -> UpstreamError:
    return UpstreamError("cut_off", "the model's stream ended before its answer did")


def unfinished(reason: object) -> UpstreamError:
    """Return the failure of an answer that the model gave up, or ended for a reason without a translation."""
    shown = "".join(filter(str.isprintable, str(reason)))[:_MAX_REASON]
    return UpstreamError("unfinished", f"the model ended its answer with {shown!r}")


def check_completion(completion: JSON) -> JSON:
    """Return the completion; UpstreamError if it has no choices or one of them failed."""
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices:
        raise malformed("an answer without choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise malformed("an answer without choices")
        _check_finish(choice)
        if calls := choice["message"].get("tool_calls"):
            _check_calls(calls)
            for call in calls:
                _write_arguments(call)
    return completion


def is_filtered(answer: Sequence[JSON]) -> bool:
    """Return whether a filter of the provider ended every choice of a completion, or of chunks."""
    choices = [choice for part in answer for choice in part.get("choices") or ()]
    filtered = {choice.get("index") for choice in choices if choice.get("finish_reason") == FILTERED}
    return bool(choices) and filtered == {choice.get("index") for choice in choices}


def has_output(chunk: JSON) -> bool:
    """Return whether a chunk holds more than roles; each event of the Responses API counts as output."""
    if "choices" not in chunk:
        return True
    return any(
        choice.get("finish_reason") or any(value for name, value in choice["delta"].items() if name != "role")
        for choice in chunk["choices"]
    )


@runtime_checkable
class Translator(Protocol):
    """Translates the events of one stream to chunks of OpenAI's chat completions.

    Attributes:
        ended: no more events will come.
    """

    ended: bool

    def translate(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunks of one event; KeyError, TypeError, AttributeError or ValueError if it is malformed."""

    def take_usage(self) -> UsageReport | None:
        """Return the usage that the events since the last call reported outside the chunks; None if they did not."""

    def close(self) -> Iterator[JSON]:
        """Yield what is left when the stream has ended."""


class ChatStream:
    """Follows the choices of a stream and corrects what compatible servers write in another form."""

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}
        self._calls: dict[int, _ToolCallIndexes] = {}

    def check(self, chunk: JSON) -> JSON:
        """Return the chunk; UpstreamError if it is malformed or a choice failed."""
        choices = chunk.get("choices")
        if choices is None:
            choices = chunk["choices"] = []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise malformed("a chunk whose choices are not objects")
        for choice in choices:
            self._check_choice(choice)
        return chunk

    def finish(self, saw_done: bool, num_choices: int) -> None:
        """Raise UpstreamError if a choice has no end; [DONE] ends the choices of a server that gives no reasons.

        Args:
            saw_done: whether the server sent [DONE].
            num_choices: as many as were asked for; a server that ignores it sends [DONE] after fewer.
        """
        if saw_done and not self._open:
            raise malformed("a stream without an answer")
        gives_reasons = not all(self._open.values())
        if len(self._open) < num_choices and not saw_done:
            raise cut_off()
        if not self._open or (any(self._open.values()) and (gives_reasons or not saw_done)):
            raise cut_off()

    def _check_choice(self, choice: JSON) -> None:
        index = choice.setdefault("index", 0)
        if not isinstance(index, int):
            raise malformed("a choice whose index is not a number")
        delta = self._delta(choice, begun=index in self._open)
        _check_finish(choice)
        self._open[index] = self._open.get(index, True) and not choice.get("finish_reason")
        if calls := delta.get("tool_calls"):
            self._calls.setdefault(index, _ToolCallIndexes()).correct(calls)

    def _delta(self, choice: JSON, *, begun: bool) -> JSON:
        """Return the delta: by default the whole message, which some servers send instead, or nothing."""
        if choice.get("delta") is None:
            message = choice.pop("message", None)
            choice["delta"] = message if isinstance(message, dict) and not begun else {}
        if not isinstance(delta := choice["delta"], dict):
            raise malformed("a delta that is not an object")
        return delta


class ChatStreamParser:
    """Parses the events of a chat in a provider's format to checked chunks."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._stream = ChatStream()

    @property
    def ended(self) -> bool:
        return self._translator.ended

    def parse(self, event: JSON, raw: bytes) -> Iterator[JSON]:
        return map(self._stream.check, self._translator.translate(event))

    def take_usage(self) -> UsageReport | None:
        return self._translator.take_usage()

    def finish(self, saw_done: bool, num_choices: int) -> Iterator[JSON]:
        left = [self._stream.check(chunk) for chunk in self._translator.close()]
        self._stream.finish(saw_done, num_choices)
        yield from left


class _ToolCallIndexes:
    """Gives each tool call of a choice an index of its own: some servers send several as 0, or none."""

    def __init__(self) -> None:
        self._ids: dict[int, object] = {}
        self._current: dict[int, int] = {}  # index that the server sends -> index of the call

    def correct(self, calls: Any) -> None:
        _check_calls(calls)
        for call in calls:
            _write_arguments(call)
            call["index"] = self._index(call)

    def _index(self, call: JSON) -> int:
        sent, call_id = call.get("index"), call.get("id")
        if not isinstance(sent, int):
            sent = max(self._current, default=0)
        known = self._current.get(sent)
        if known is not None and not self._is_another(call, known):
            self._ids[known] = self._ids[known] or call_id
            return known
        index = sent if sent not in self._ids else max(self._ids) + 1
        self._current[sent], self._ids[index] = index, call_id
        return index

    def _is_another(self, call: JSON, known: int) -> bool:
        """Return whether the call is not the known one; some servers send a new id with each piece, but no name."""
        call_id, function = call.get("id"), call.get("function")
        names = isinstance(function, dict) and bool(function.get("name"))
        return names and bool(call_id) and self._ids[known] not in (None, "", call_id)


def _check_finish(choice: JSON) -> None:
    reason = choice.get("finish_reason")
    if reason == "":
        choice["finish_reason"] = None
    elif reason is not None and (not isinstance(reason, str) or _FAILED.search(reason)):
        raise unfinished(reason)


def _check_calls(calls: Any) -> None:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise malformed("tool calls that are not a list of objects")


def _write_arguments(call: JSON) -> None:
    """Write the arguments of a tool call as text, where a server sends the object itself."""
    function = call.get("function")
    if isinstance(function, dict) and isinstance(function.get("arguments"), (dict, list)):
        function["arguments"] = dump_json(function["arguments"]).decode()


def chunks_of(completion: JSON) -> Iterator[JSON]:
    """Turn a completion into a stream: one chunk with everything, then the usage."""
    head = {name: value for name, value in completion.items() if name not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    yield {**head, "choices": [_choice_delta(choice) for choice in completion["choices"]]}
    if completion.get("usage"):
        yield {**head, "choices": [], "usage": completion["usage"]}


def _choice_delta(choice: JSON) -> JSON:
    message = choice["message"]
    delta = {name: value if name == "content" else _indexed(value) for name, value in message.items()}
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": delta}


def _indexed(value: Any) -> Any:
    """Return a list of objects with the index of each, by which clients put a streamed list together."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [{"index": index, **one} for index, one in enumerate(value)]
    return value
