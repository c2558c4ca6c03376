"""Write rows in the background, so that no response waits for a slow database."""

import asyncio
import logging
from collections import deque
from contextlib import suppress

from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.databases import Database, DatabaseError, Row

_WAIT = 0.25  # seconds that a response waits for its row
_RETRY_DELAY = 0.5  # seconds between attempts while the database is down
_CLOSE_WAIT = 5.0  # seconds
_BATCH = 500  # rows in a transaction
_QUEUE_LIMIT = 100_000


class DecisionWriter:
    """Writes rows with one statement, in the order of arrival. The statement must be safe to repeat.

    While the database is down, up to 100,000 rows wait in memory; more are dropped, with a line in the log.
    """

    def __init__(self, database: Database, statement: str) -> None:
        self._database = database
        self._statement = statement
        self._waiting: deque[tuple[Row, asyncio.Event]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._down = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def add(self, row: Row) -> None:
        """Queue a row; it is written when this returns, unless the database is slow or down."""
        if len(self._waiting) >= _QUEUE_LIMIT:
            event("a row was dropped: the queue is full because the database is down", level=logging.ERROR)
            return
        written = asyncio.Event()
        self._waiting.append((row, written))
        self._wake.set()
        if not self._down:
            await _wait(written, _WAIT)

    async def flush(self) -> None:
        """Wait a moment for the queued rows."""
        if self._waiting:
            await _wait(self._waiting[-1][1], _WAIT)

    async def close(self) -> None:
        """Write the queued rows for at most some seconds, less if the database is down."""
        if self._waiting:
            await _wait(self._waiting[-1][1], _WAIT if self._down else _CLOSE_WAIT)
        if self._waiting:
            event("rows were lost: the database is down", {"rows": len(self._waiting)}, level=logging.ERROR)
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
                    await asyncio.sleep(_RETRY_DELAY)

    async def _write(self, rows: list[Row]) -> bool:
        """Return False if these rows must be retried."""
        try:
            await self._database.write(self._statement, rows)
        except DatabaseError as error:
            if not error.retryable and len(rows) > 1:
                return all([await self._write([row]) for row in rows])
            if not error.retryable:
                event("the database rejected rows", {"reason": error.reason, "rows": len(rows)}, level=logging.ERROR)
                return True
            if not self._down:
                event("the database is down; rows wait", {"reason": error.reason}, level=logging.ERROR)
            self._down = True
            return False
        if self._down:
            event("the database is back", {"waiting": len(self._waiting)})
        self._down = False
        return True


async def _wait(written: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(written.wait(), seconds)
