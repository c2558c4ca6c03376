"""What a stream budget remembers, and the SQLite file that processes share it by."""

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
class StreamState:
    """What a stream remembers: all that ``StreamBudget`` needs to go on after a restart.

    Attributes:
        target: mean cost of a request.
        count: requests so far.
        spent: their cost, as far as it is known, estimates for the rest.
        credit: what may be spent above the target; negative: what is overdrawn.
        log_price: log of the resting price (score for a unit of cost); None before the first choice between a
            better and a cheaper model.
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


class StreamFile:
    """The state of one target. Raises ``DataError`` where the file cannot be opened or is another program's."""

    def __init__(self, path: str | Path, target: float) -> None:
        self._target = target
        self._connection = open_sqlite(path, "OFF")
        make_tables(self._connection, path, _SCHEMA)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A transaction that no other process is in."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def state(self) -> StreamState:
        """As it was left; of a target that is new, an empty account at the price of the last one."""
        row = self._connection.execute(_STATE, (self._target,)).fetchone()
        if row is not None:
            return StreamState(*row)
        price = self._connection.execute(_NEWEST).fetchone()
        return StreamState(self._target, log_price=None if price is None else price[0])

    def keep(self, state: StreamState) -> None:
        kept = "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._connection.execute(kept, (*astuple(state), time.time()))

    def close(self) -> None:
        self._connection.close()
