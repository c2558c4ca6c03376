"""Put a message together from deltas, and number what a stream adds to lists."""

from collections import Counter
from typing import Any

from p2l.serving.router.chat_request import JSON

CARRIED = "provider_specific_fields"
"""The field of a message or delta that holds, unchanged, what OpenAI's format has no field for; LiteLLM's name."""


def add_delta(message: JSON, delta: JSON) -> None:
    """Add a delta: texts and lists are joined, objects merged, and anything else replaced."""
    for name, value in delta.items():
        known = message.get(name)
        if isinstance(known, str) and isinstance(value, str):
            message[name] = known + value
        elif isinstance(known, list) and isinstance(value, list):
            message[name] = [*known, *value]
        elif isinstance(known, dict) and isinstance(value, dict):
            add_delta(known, value)
        else:
            message[name] = value


def carried(**values: Any) -> JSON:
    """Return the delta that carries these values of the provider; empty without values."""
    present = {name: value for name, value in values.items() if value not in (None, [], {})}
    return {CARRIED: present} if present else {}


class ListIndexes:
    """Gives each entry of a streamed list its index, by which clients put the list together."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def number(self, delta: JSON) -> JSON:
        """Return the delta with an index in each object of its lists; tool calls have theirs."""
        return {name: self._numbered(name, value) for name, value in delta.items()}

    def _numbered(self, name: str, value: Any) -> Any:
        if name == CARRIED:
            return {inner: self._numbered(f"{CARRIED}.{inner}", entries) for inner, entries in value.items()}
        if name == "tool_calls" or not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            return value
        start = self._counts[name]
        self._counts[name] += len(value)
        return [{**one, "index": start + position} for position, one in enumerate(value)]
