"""Spending and request rates of client keys."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.storage.locked_files import DeferredWrites

_ROUNDING = 1e-9  # relative error of sums of costs


@dataclass(frozen=True)
class HeldAmount:
    """An amount held in a key's budget, and the start of the budget period that it belongs to."""

    amount: float
    period_start: float


class Ledger:
    """Spending and rates of keys in the shared state. Each step is one statement, so workers cannot race.

    The estimated cost of an answer is held before the call and replaced by the actual cost after it. Estimates never
    exceed a budget; actual costs exceed it at most by their difference from the estimates of open requests, and by
    the calls that failed after their provider had billed them.

    Args:
        state: see ``open_shared_state``. While another process locks it, ``count_request`` and ``hold`` raise
            sqlite3.OperationalError, and may be repeated.
        now: the time in seconds.
        writes: runs the corrections; None: a queue of its own.
    """

    def __init__(
        self, state: sqlite3.Connection, now: Callable[[], float] = time.time, writes: DeferredWrites | None = None
    ) -> None:
        self._state = state
        self._now = now
        self._writes = writes or DeferredWrites("state")

    def count_request(self, key: KeyConfig) -> None:
        """Count a request; ApiError 429 above the key's rate (token bucket that refills evenly over a minute)."""
        rate = key.requests_per_minute
        if rate is None:
            return
        now = self._now()
        self._create_account(key, now)
        refilled = "MIN(:rate, tokens + MAX(0, :now - updated) * :rate / 60.0)"
        counted = self._state.execute(
            f"UPDATE accounts SET tokens = {refilled} - 1, updated = :now WHERE name = :name AND {refilled} >= 1",
            {"rate": rate, "now": now, "name": key.name},
        ).rowcount
        if not counted:
            wait = str(max(1, round(60 / rate))) if rate else "60"
            message = f"this key may ask {rate} times a minute"
            raise ApiError(429, message, "rate_limit_exceeded", headers={"retry-after": wait})

    def hold(self, key: KeyConfig, amount: float) -> HeldAmount | None:
        """Hold an amount in the key's budget; None if the budget is too small."""
        if key.budget is None:
            return HeldAmount(amount, 0.0)
        now = self._now()
        self._create_account(key, now)
        self._start_period(key, now)
        self._writes.flush()
        held = self._state.execute(
            "UPDATE accounts SET spent = spent + ? WHERE name = ? AND spent + ? <= ? RETURNING period_start",
            (amount, key.name, amount, key.budget + _ROUNDING * max(1.0, key.budget)),
        ).fetchall()
        return HeldAmount(amount, held[0][0]) if held else None

    def settle(self, key: KeyConfig, held: HeldAmount, actual: float) -> None:
        """Replace a held amount by the actual cost.

        The end of a period clears the amounts held in it, so a new period is charged only what exceeds the hold.
        If another process locks the state, the correction waits.
        """
        change = actual - held.amount
        if key.budget is not None and change:
            corrected = "MAX(0, spent + CASE WHEN period_start = ? THEN ? ELSE MAX(0, ?) END)"
            statement = f"UPDATE accounts SET spent = {corrected} WHERE name = ?"
            self._writes.add(partial(self._state.execute, statement, (held.period_start, change, change, key.name)))

    def charge(self, key: KeyConfig, amount: float) -> None:
        """Add an amount to what the key has spent, beyond its budget if need be; later if the state is locked."""
        if key.budget is not None and amount:
            self._writes.add(partial(self._add, key, amount))

    def spent(self, key: KeyConfig) -> float:
        """Return what the key has spent or held in this period."""
        self._start_period(key, self._now())
        row = self._state.execute("SELECT spent FROM accounts WHERE name = ?", (key.name,)).fetchone()
        return float(row[0]) if row else 0.0

    def _add(self, key: KeyConfig, amount: float) -> None:
        self._start_period(key, self._now())
        self._state.execute("UPDATE accounts SET spent = spent + ? WHERE name = ?", (amount, key.name))

    def _create_account(self, key: KeyConfig, now: float) -> None:
        full = float(key.requests_per_minute or 0)
        self._state.execute("INSERT OR IGNORE INTO accounts VALUES (?, 0, ?, ?, ?)", (key.name, now, full, now))

    def _start_period(self, key: KeyConfig, now: float) -> None:
        if key.period is not None:
            statement = "UPDATE accounts SET spent = 0, period_start = ? WHERE name = ? AND period_start <= ?"
            self._state.execute(statement, (now, key.name, now - key.period))
