"""What each client key may spend, and how often it may ask."""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.config.server_config import KeyConfig, ModelConfig, Prices
from p2l.serving.router.router_logs import event

_CLOSE = 1e-9  # sums of costs round


@dataclass(frozen=True)
class HeldAmount:
    """An amount set aside, in the period of the key's budget that started then."""

    amount: float
    period_start: float


class Ledger:
    """Spending and rates of keys, held in the shared state; each step is one statement, so that workers cannot race.

    Before a model is called the answer's estimated cost is held; afterwards the true cost takes its place. A budget is
    thus never passed by estimates; by true costs only as far as these exceed the estimates of answers under way.
    """

    def __init__(self, state: sqlite3.Connection, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now
        self._late: deque[tuple[float, float, float, str]] = deque()

    def count(self, key: KeyConfig) -> None:
        """Count a request; ``ApiError`` 429 over the key's rate (a bucket that refills evenly over a minute)."""
        rate = key.requests_per_minute
        if rate is None:
            return
        now = self._now()
        self._account(key, now)
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
        """Set an amount aside; None if the key's budget does not have it."""
        if key.budget is None:
            return HeldAmount(amount, 0.0)
        now = self._now()
        self._account(key, now)
        self._roll(key, now)
        self._correct()
        held = self._state.execute(
            "UPDATE accounts SET spent = spent + ? WHERE name = ? AND spent + ? <= ? RETURNING period_start",
            (amount, key.name, amount, key.budget + _CLOSE * max(1.0, key.budget)),
        ).fetchall()
        return HeldAmount(amount, held[0][0]) if held else None

    def settle(self, key: KeyConfig, held: HeldAmount, actual: float) -> None:
        """Put the true cost in the place of what was held.

        Where the period of the hold is over, that went with it: the new one gives nothing back, and pays what the
        answer cost beyond the hold. While another process keeps the state locked, this waits for the next step of
        this worker.
        """
        change = actual - held.amount
        if key.budget is not None and change:
            self._late.append((held.period_start, change, change, key.name))
            self._correct()

    def spent(self, key: KeyConfig) -> float:
        """What the key has spent or set aside in this period."""
        self._roll(key, self._now())
        row = self._state.execute("SELECT spent FROM accounts WHERE name = ?", (key.name,)).fetchone()
        return float(row[0]) if row else 0.0

    def _correct(self) -> None:
        corrected = "MAX(0, spent + CASE WHEN period_start = ? THEN ? ELSE MAX(0, ?) END)"
        while self._late:
            values = self._late.popleft()
            try:
                self._state.execute(f"UPDATE accounts SET spent = {corrected} WHERE name = ?", values)
            except sqlite3.OperationalError:
                self._late.appendleft(values)
                event("true costs wait: the state is locked", {"waiting": len(self._late)}, level=logging.ERROR)
                return

    def _account(self, key: KeyConfig, now: float) -> None:
        full = float(key.requests_per_minute or 0)
        self._state.execute("INSERT OR IGNORE INTO accounts VALUES (?, 0, ?, ?, ?)", (key.name, now, full, now))

    def _roll(self, key: KeyConfig, now: float) -> None:
        if key.period is not None:
            fresh = "UPDATE accounts SET spent = 0, period_start = ? WHERE name = ? AND period_start <= ?"
            self._state.execute(fresh, (now, key.name, now - key.period))


@dataclass
class Reservation:
    """What one request sets aside of the budget of its key; settled or released when it ends."""

    ledger: Ledger
    key: KeyConfig
    held: HeldAmount | None = None

    def hold(self, amount: float) -> bool:
        """Hold this amount in place of what was held before."""
        self.release()
        self.held = self.ledger.hold(self.key, amount)
        return self.held is not None

    def settle(self, actual: float) -> None:
        """Charge this in place of what is held, once."""
        if self.held is not None:
            self.ledger.settle(self.key, self.held, actual)
            self.held = None

    def release(self) -> None:
        self.settle(0.0)


def estimated_cost(model: ModelConfig, prompt_tokens: int, answer_tokens: int | None) -> float:
    """What an answer of so many tokens is expected to cost: ``cost``, or more where prices say so."""
    if model.prices is None or answer_tokens is None:
        return model.cost
    return max(model.cost, _by_tokens(model.prices, prompt_tokens, answer_tokens))


def true_cost(model: ModelConfig, usage: Mapping[str, object] | None) -> float | None:
    """What an answer cost: by its usage where prices are known, else ``cost``; None where that usage is missing."""
    if model.prices is None:
        return model.cost
    prompt, completion = (usage or {}).get("prompt_tokens"), (usage or {}).get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return _by_tokens(model.prices, prompt, completion)


def _by_tokens(prices: Prices, prompt: int, answer: int) -> float:
    return (prompt * prices.input + answer * prices.output) / 1e6
