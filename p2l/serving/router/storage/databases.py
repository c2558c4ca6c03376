"""Databases of feedback: SQLite in a file, or PostgreSQL at a URL. Both take the same statements, ``?`` for values."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from p2l.errors import P2LError
from p2l.sqlite import make_tables, open_sqlite

Row = tuple[Any, ...]


class DatabaseError(P2LError):
    """A statement failed. The driver's text is left out, since it may quote values or the URL.

    ``retryable``: the database could not be reached, so the same statement may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(f"the database of feedback failed ({reason}): check that it can be reached and written to")
        self.reason = reason
        self.retryable = retryable


@runtime_checkable
class Database(Protocol):
    """Runs statements, each in a transaction of its own."""

    async def open(self, schema: str) -> None:
        """Create the tables, now or at the first statement. ``integer key`` stands for an automatic integer key.

        Raises DataError if a file has other tables.
        """

    async def rows(self, statement: str, values: Row = ()) -> list[Row]:
        """Return the rows of a query; DatabaseError if it fails."""

    async def write(self, statement: str, rows: Sequence[Row]) -> int:
        """Run the statement for each row, all or none; return how many rows of the table changed.

        Raises DatabaseError if it fails.
        """

    async def close(self) -> None: ...


_BUSY_TIMEOUT_MS = 50  # wait for the lock of another process; all requests of the worker wait meanwhile


class SqliteDatabase:
    """A SQLite file. Statements take microseconds, so they run in the event loop.

    If another process keeps the file locked, a statement fails soon and may be retried.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._connection = open_sqlite(path, "NORMAL")

    async def open(self, schema: str) -> None:
        make_tables(self._connection, self._path, schema.replace("integer key", "INTEGER PRIMARY KEY"))
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")

    async def rows(self, statement: str, values: Row = ()) -> list[Row]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _sqlite_error(error) from None

    async def write(self, statement: str, rows: Sequence[Row]) -> int:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                return self._connection.executemany(statement, rows).rowcount
        except sqlite3.Error as error:
            raise _sqlite_error(error) from None

    async def close(self) -> None:
        self._connection.close()


def _sqlite_error(error: sqlite3.Error) -> DatabaseError:
    return DatabaseError(type(error).__name__, retryable=isinstance(error, sqlite3.OperationalError))
