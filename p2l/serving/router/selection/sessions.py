"""Conversations that stay with their model, so that its prompt cache serves."""

import sqlite3
import time
from collections.abc import Callable
from typing import Literal

_SWEEP_EVERY = 1000


class SessionStore:
    """The model of each session, of each key apart, until it has been idle for ``ttl`` seconds; ``table``: where."""

    def __init__(
        self,
        state: sqlite3.Connection,
        now: Callable[[], float] = time.time,
        *,
        table: Literal["sessions", "responses"] = "sessions",
    ) -> None:
        self._state = state
        self._table = table
        self._now = now
        self._writes = 0

    def model(self, owner: str, session: str) -> str | None:
        """The model that answered last, if that was not too long ago."""
        found = f"SELECT model FROM {self._table} WHERE owner = ? AND session = ? AND expires > ?"
        row = self._state.execute(found, (owner, session, self._now())).fetchone()
        return row[0] if row else None

    def keep(self, owner: str, session: str, model: str, ttl: float) -> None:
        """Remember who answered; now and then forget what has expired."""
        now = self._now()
        kept = f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?, ?)"
        self._state.execute(kept, (owner, session, model, now + ttl))
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 0:
            self._state.execute(f"DELETE FROM {self._table} WHERE expires <= ?", (now,))
