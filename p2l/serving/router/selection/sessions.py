"""The model of each conversation and of each stored response, so that later requests reach the same model."""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

from p2l.serving.router.storage.locked_files import DeferredWrites, state_unavailable

_SWEEP_EVERY = 1000  # writes


class SessionStore:
    """Which model answered, by key and session, until the entry expires.

    ``table``: ``sessions`` keeps a conversation with one model, whose prompt cache then helps; ``responses`` names the
    model whose provider keeps a response. ``writes`` runs the writes; None: a queue of its own.
    """

    def __init__(
        self,
        state: sqlite3.Connection,
        now: Callable[[], float] = time.time,
        *,
        table: Literal["sessions", "responses"] = "sessions",
        writes: DeferredWrites | None = None,
    ) -> None:
        self._state = state
        self._writes = writes or DeferredWrites("state")
        self._table = table
        self._now = now
        self._num_writes = 0

    def model(self, owner: str, session: str) -> str | None:
        """Return the model that answered last; None if unknown or expired, ApiError 503 if the state cannot be read."""
        query = f"SELECT model FROM {self._table} WHERE owner = ? AND session = ? AND expires > ?"
        try:
            row = self._state.execute(query, (owner, session, self._now())).fetchone()
        except sqlite3.OperationalError:
            raise state_unavailable() from None
        return row[0] if row else None

    def keep(self, owner: str, session: str, model: str, ttl: float) -> None:
        """Remember the model for ``ttl`` seconds; delete expired entries now and then. Never raises."""
        now = self._now()
        statement = f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?, ?)"
        self._writes.add(partial(self._state.execute, statement, (owner, session, model, now + ttl)))
        self._num_writes += 1
        if self._num_writes % _SWEEP_EVERY == 0:
            sweep = f"DELETE FROM {self._table} WHERE expires <= ?"
            self._writes.add(partial(self._state.execute, sweep, (now,)))
