"""Values in the order of their last use, and the bytes that they take: what every cache in bounded memory keeps."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentValues(Generic[Value]):
    """Values by name, the least recently used first. A caller with several threads locks around its calls."""

    def __init__(self) -> None:
        self._values: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    def get(self, name: bytes) -> Value | None:
        """Return a value, or None; it does not count as used."""
        return self._values[name][0] if name in self._values else None

    def touch(self, name: bytes) -> None:
        """Make a value the most recently used."""
        self._values.move_to_end(name)

    def put(self, name: bytes, value: Value, num_bytes: int) -> Value | None:
        """Keep a value as the most recently used; returns the one that it replaces."""
        before = self.pop(name)
        self._values[name] = value, num_bytes
        self.num_bytes += num_bytes
        return before

    def pop(self, name: bytes) -> Value | None:
        """Forget a value and return it; None if there is none."""
        value, num_bytes = self._values.pop(name, (None, 0))
        self.num_bytes -= num_bytes
        return value

    def shrink(self, max_bytes: int) -> list[Value]:
        """Forget the least recently used values until the others fit; returns them."""
        dropped = []
        while self.num_bytes > max_bytes:
            _, (value, num_bytes) = self._values.popitem(last=False)
            self.num_bytes -= num_bytes
            dropped.append(value)
        return dropped
