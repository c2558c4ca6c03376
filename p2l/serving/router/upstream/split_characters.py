"""Join the halves of a character that an upstream split between two chunks, as JSON can write half a surrogate pair."""

from collections.abc import Iterator
from typing import Any

from p2l.serving.router.chat_request import JSON
from p2l.unicode_text import replace_surrogates, without_surrogates

_REPLACEMENT = "\ufffd"
_Place = tuple[int, str | int]
"""Index of a choice, and a field of its delta or the index of a tool call."""


class SplitCharacters:
    """Holds the first half of a character back until the second comes; a half without the other becomes U+FFFD."""

    def __init__(self) -> None:
        self._held: dict[_Place, str] = {}

    def join(self, chunk: JSON) -> JSON:
        """Return the chunk with whole characters alone."""
        for choice in chunk.get("choices") or ():
            index, delta = choice.get("index"), choice.get("delta")
            if not isinstance(index, int) or not isinstance(delta, dict):
                continue
            self._join_fields(index, delta)
            for call in delta.get("tool_calls") or ():
                self._join_arguments(index, call)
            if choice.get("finish_reason"):
                _append(delta, self._release(index))
        joined: JSON = without_surrogates(chunk)
        return joined

    def flush(self, head: JSON) -> Iterator[JSON]:
        """Yield a chunk for each choice that still waits when the stream ends."""
        for index in sorted({index for index, _ in self._held}):
            delta: JSON = {}
            _append(delta, self._release(index))
            yield {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]}

    def _join_fields(self, index: int, delta: JSON) -> None:
        for name, text in list(delta.items()):
            if isinstance(text, str) and text:
                delta[name] = self._join_text((index, name), text)

    def _join_arguments(self, index: int, call: Any) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            place = (index, call.get("index") if isinstance(call.get("index"), int) else 0)
            function["arguments"] = self._join_text(place, function["arguments"])

    def _join_text(self, place: _Place, text: str) -> str:
        text = self._held.pop(place, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[place], text = text[-1], text[:-1]
        return replace_surrogates(text)

    def _release(self, index: int) -> list[str | int]:
        """Forget the halves of a choice; return where they were."""
        places = [place for place in self._held if place[0] == index]
        for place in places:
            del self._held[place]
        return [name for _, name in places]


def _append(delta: JSON, names: list[str | int]) -> None:
    for name in names:
        if isinstance(name, str):
            delta[name] = (delta.get(name) or "") + _REPLACEMENT
        else:
            call = {"index": name, "function": {"arguments": _REPLACEMENT}}
            delta["tool_calls"] = [*(delta.get("tool_calls") or ()), call]
