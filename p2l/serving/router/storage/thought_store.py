"""The thoughts behind tool calls, by key and call, so that the next turn can send them back."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import orjson

from p2l.serving.router.chat_request import JSON, Thought
from p2l.serving.router.router_logs import event
from p2l.serving.router.storage.locked_files import DeferredWrites

MAX_ENTRIES = 2000  # of one key
MAX_BYTES = 32 << 20  # of one key
_MAX_ASKED = 500  # calls of one history, the latest
_SWEEP_EVERY = 100  # writes

_FIND = "SELECT call, model, content FROM thoughts WHERE owner = ? AND expires > ? AND call IN ({places})"
_KEEP = "INSERT OR REPLACE INTO thoughts VALUES (?, ?, ?, ?, ?, ?)"
# the latest stay, as far as both limits allow
_TRIM = """
DELETE FROM thoughts WHERE owner = :owner AND call IN (
    SELECT call FROM (
        SELECT call, SUM(size) OVER latest AS bytes, ROW_NUMBER() OVER latest AS position
        FROM thoughts WHERE owner = :owner WINDOW latest AS (ORDER BY expires DESC, call))
    WHERE bytes > :bytes OR position > :entries)
"""


class ThoughtStore:
    """Thoughts in the shared state. A store that fails loses thoughts, never an answer.

    ``writes`` runs the writes, later if the state is locked; None: a queue of its own.
    """

    def __init__(
        self, state: sqlite3.Connection, now: Callable[[], float] = time.time, writes: DeferredWrites | None = None
    ) -> None:
        self._state = state
        self._writes = writes or DeferredWrites("state")
        self._now = now
        self._num_writes = 0

    def find(self, owner: str, calls: Iterable[str]) -> dict[str, Thought]:
        """Return the thoughts of the key's calls that are known and not expired."""
        asked = list(dict.fromkeys(calls))[-_MAX_ASKED:]
        if not asked:
            return {}
        query = _FIND.format(places=", ".join("?" * len(asked)))
        try:
            rows = self._state.execute(query, (owner, self._now(), *asked)).fetchall()
        except sqlite3.Error as error:
            event("thoughts could not be read", {"reason": type(error).__name__}, level=logging.ERROR)
            return {}
        return {call: Thought(model, orjson.loads(content)) for call, model, content in rows}

    def keep(self, owner: str, model: str, contents: dict[str, JSON], ttl: float) -> None:
        """Remember the thoughts of an answer for ``ttl`` seconds; forget the oldest of the key beyond its limits."""
        expires = self._now() + ttl
        packed = [(call, orjson.dumps(content)) for call, content in contents.items()]
        rows = [(owner, call, model, content, len(content), expires) for call, content in packed]
        self._writes.add(partial(self._write, owner, rows))

    def _write(self, owner: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Write rows and delete old ones; safe to repeat."""
        for row in rows:
            self._state.execute(_KEEP, row)
        self._state.execute(_TRIM, {"owner": owner, "bytes": MAX_BYTES, "entries": MAX_ENTRIES})
        self._num_writes += 1
        if self._num_writes % _SWEEP_EVERY == 0:
            self._state.execute("DELETE FROM thoughts WHERE expires <= ?", (self._now(),))
