"""SQLite files that another process keeps locked: steps are retried while the event loop serves other requests."""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.router_logs import event

T = TypeVar("T")

PATIENCE = 2.0  # seconds that a request waits for the lock
_CLOSE_WAIT = 5.0  # seconds
_RETRY_DELAY = 0.05  # seconds between attempts of deferred writes
_QUEUE_LIMIT = 100_000


async def when_unlocked(step: Callable[[], T]) -> T:
    """Return the result of a step, retried while the file is locked; ApiError 503 after PATIENCE seconds.

    The step must be safe to repeat if its last statement has failed.
    """
    pause, deadline = 0.001, time.monotonic() + PATIENCE
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_unavailable(error):
                raise
            if time.monotonic() >= deadline:
                event("a request was refused: the state cannot be written", {"reason": str(error)}, level=logging.ERROR)
                raise state_unavailable() from None
        await asyncio.sleep(pause)
        pause = min(2 * pause, _RETRY_DELAY)


def state_unavailable() -> ApiError:
    """Return the error 503 for a state file that cannot be used for the moment."""
    message = "the router's state cannot be reached; try again"
    return ApiError(503, message, "state_unavailable", headers={"retry-after": "1"})


def is_unavailable(error: sqlite3.OperationalError) -> bool:
    """Return whether the file is locked, full or not writable for the moment; else the statement itself is wrong."""
    return not str(error).startswith(("no such", "near ", "table "))


class DeferredWrites:
    """Writes that no request waits for: each runs at once, or in order as soon as its file is free.

    ``name``: of the file, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: deque[Callable[[], object]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, write: Callable[[], object]) -> None:
        """Run the write now or later; never raises."""
        if len(self._waiting) >= _QUEUE_LIMIT:
            event("a write was dropped: the queue is full", {"file": self._name}, level=logging.ERROR)
            return
        self._waiting.append(write)
        self.flush()

    def flush(self) -> bool:
        """Run what waits; False if the file is still locked."""
        while self._waiting:
            try:
                self._waiting[0]()
            except sqlite3.OperationalError as error:
                if is_unavailable(error):
                    self._retry_later(error)
                    return False
                self._report_lost(error)
            except Exception as error:  # whatever it is, the answer of the request stays sound
                self._report_lost(error)
            self._waiting.popleft()
        return True

    async def close(self) -> None:
        """Run what waits, for at most some seconds."""
        deadline = time.monotonic() + _CLOSE_WAIT
        while not self.flush() and time.monotonic() < deadline:
            await asyncio.sleep(_RETRY_DELAY)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            event("writes were lost", {"file": self._name, "writes": len(self._waiting)}, level=logging.ERROR)

    def _retry_later(self, error: sqlite3.OperationalError) -> None:
        if self._timer is None:
            fields = {"file": self._name, "waiting": len(self._waiting), "reason": str(error)}
            event("writes wait: the file is locked", fields, level=logging.WARNING)
            with suppress(RuntimeError):  # outside an event loop, the next write retries
                self._timer = asyncio.get_running_loop().call_later(_RETRY_DELAY, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self.flush()

    def _report_lost(self, error: Exception) -> None:
        event("a write failed", {"file": self._name, "reason": type(error).__name__}, level=logging.ERROR)
