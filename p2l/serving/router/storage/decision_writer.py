"""Rows written in the background, so that a store that is slow or down holds no answer up."""

import asyncio
import logging
from collections import deque
from contextlib import suppress

from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.databases import DatabaseError, Row, Store

_PATIENCE = 0.25  # seconds that an answer waits for its row
_AGAIN = 0.5  # seconds between attempts at a store that is down
_CLOSING = 5.0
_BATCH = 500
_MOST_WAITING = 100_000


class DecisionWriter:
    """Writes rows by one statement in the order they came. Repeating the statement must do no harm.

    While the store is down, rows wait in memory, up to a hundred thousand; what is dropped beyond is said in the log.
    """

    def __init__(self, store: Store, statement: str) -> None:
        self._store = store
        self._statement = statement
        self._waiting: deque[tuple[Row, asyncio.Event]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._down = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def add(self, row: Row) -> None:
        """Hand a row over; it is written when this returns, unless the store is slow or down."""
        if len(self._waiting) >= _MOST_WAITING:
            event("a row was dropped: the store is down for too long", level=logging.ERROR)
            return
        written = asyncio.Event()
        self._waiting.append((row, written))
        self._wake.set()
        if not self._down:
            await _wait(written, _PATIENCE)

    async def settled(self) -> None:
        """Wait a moment for what was handed over."""
        if self._waiting:
            await _wait(self._waiting[-1][1], _PATIENCE)

    async def close(self) -> None:
        """Write what waits, for some seconds; a store that is down is not waited for."""
        if self._waiting:
            await _wait(self._waiting[-1][1], _PATIENCE if self._down else _CLOSING)
        if self._waiting:
            event("rows were lost: the store is down", {"rows": len(self._waiting)}, level=logging.ERROR)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
                if await self._write([row for row, _ in batch]):
                    for _, written in batch:
                        self._waiting.popleft()
                        written.set()
                else:
                    await asyncio.sleep(_AGAIN)

    async def _write(self, rows: list[Row]) -> bool:
        """Whether these rows are done with."""
        try:
            await self._store.write(self._statement, rows)
        except DatabaseError as error:
            if not error.retryable and len(rows) > 1:
                return all([await self._write([row]) for row in rows])
            if not error.retryable:
                event("rows were refused", {"reason": error.reason, "rows": len(rows)}, level=logging.ERROR)
                return True
            if not self._down:
                event("the store is down; rows wait", {"reason": error.reason}, level=logging.ERROR)
            self._down = True
            return False
        if self._down:
            event("the store is back", {"waiting": len(self._waiting)})
        self._down = False
        return True


async def _wait(written: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(written.wait(), seconds)
