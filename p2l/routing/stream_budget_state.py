"""The state of a stream budget, and the SQLite file in which processes share it."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from p2l.sqlite import make_tables, open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    target REAL PRIMARY KEY, count INTEGER NOT NULL, spent REAL NOT NULL, credit REAL NOT NULL, log_price REAL,
    square REAL NOT NULL, changed REAL NOT NULL);
"""
_STATE = "SELECT target, count, spent, credit, log_price, square FROM streams WHERE target = ?"
_NEWEST = "SELECT log_price FROM streams WHERE log_price IS NOT NULL ORDER BY changed DESC LIMIT 1"


@dataclass(frozen=True)
class StreamBudgetState:
    """All that a ``StreamBudget`` needs to continue after a restart.

    Attributes:
        target: mean cost of a request.
        count: requests so far.
        spent: their actual cost; the estimate for open requests.
        credit: amount that may be spent above the target; negative: debt.
        log_price: log of the resting price (score per unit of cost); None before the first choice between a better
            and a cheaper model.
        square: sum of squared deviations of a cost from the target.
    """

    target: float
    count: int = 0
    spent: float = 0.0
    credit: float = 0.0
    log_price: float | None = None
    square: float = 0.0

    @property
    def mean(self) -> float:
        """Mean cost of a request; NaN before the first."""
        return self.spent / self.count if self.count else math.nan


class StreamBudgetFile:
    """Stores the state of one target. Raises DataError if the file cannot be opened or has other tables."""

    def __init__(self, path: str | Path, target: float) -> None:
        self._target = target
        self._connection = open_sqlite(path, "OFF")
        make_tables(self._connection, path, _SCHEMA)

    def fail_if_locked(self) -> None:
        """Do not wait for the lock of another process."""
        self._connection.execute("PRAGMA busy_timeout = 0")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold a transaction that excludes other processes."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def load(self) -> StreamBudgetState:
        """Return the stored state; for a new target, an empty account at the last price."""
        row = self._connection.execute(_STATE, (self._target,)).fetchone()
        if row is not None:
            return StreamBudgetState(*row)
        price = self._connection.execute(_NEWEST).fetchone()
        return StreamBudgetState(self._target, log_price=None if price is None else price[0])

    def save(self, state: StreamBudgetState) -> None:
        statement = "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._connection.execute(statement, (*astuple(state), time.time()))

    def close(self) -> None:
        self._connection.close()
