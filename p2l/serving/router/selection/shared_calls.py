"""Let equal calls that are under way at the same time share one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Call(Generic[T]):
    task: "asyncio.Task[T]"
    waiting: int = 0


class SharedCalls(Generic[T]):
    """The calls of one event loop that are under way. A call is cancelled when all who wait for it are."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, _Call[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._calls

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the call of this key that is under way, or of a new one; raises what the call raises."""
        if key not in self._calls:
            self._calls[key] = _Call(asyncio.ensure_future(_run(make)))
        call = self._calls[key]
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if self._calls.get(key) is call and (call.task.done() or not call.waiting):
                del self._calls[key]
            if not call.waiting:
                call.task.cancel()


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
