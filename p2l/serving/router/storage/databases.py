"""Where feedback is kept: SQLite in a file, or PostgreSQL by its URL; the same statements, with ``?`` for values."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from p2l.errors import ConfigError, P2LError
from p2l.sqlite import make_tables, open_sqlite

Row = tuple[Any, ...]


class DatabaseError(P2LError):
    """A statement failed; the driver's text is left out, since it may quote values or the URL.

    ``again``: the store could not be reached, so that the same statement may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(f"the store of feedback failed ({reason}): check that it can be reached and written to")
        self.reason = reason
        self.retryable = retryable


@runtime_checkable
class Store(Protocol):
    """Runs statements, each of them a transaction."""

    async def open(self, schema: str) -> None:
        """Get ready to make the tables, now or at the first statement; ``integer key`` is a number that counts up.

        ``DataError`` where a file holds other ones.
        """

    async def rows(self, statement: str, values: Row = ()) -> list[Row]:
        """What a query finds; ``DatabaseError``."""

    async def write(self, statement: str, rows: Sequence[Row]) -> int:
        """Run for each row, all or none; how many rows of the table changed; ``DatabaseError``."""

    async def close(self) -> None: ...


_WAIT_MS = 50
"""Milliseconds that a statement waits for a lock of another process; all that the worker serves waits with it."""


class SqliteDatabase:
    """A file; statements take microseconds and run where they are called.

    Once it is open, one that another process keeps locked fails soon, and may be tried again.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._connection = open_sqlite(path, "NORMAL")

    async def open(self, schema: str) -> None:
        make_tables(self._connection, self._path, schema.replace("integer key", "INTEGER PRIMARY KEY"))
        self._connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")

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


def is_url(place: str) -> bool:
    """Whether it names a PostgreSQL database rather than a file."""
    return place.startswith(("postgresql://", "postgres://"))


def make_database(place: str) -> Store:
    """The store at a URL or a path; ``ConfigError`` for another kind of URL, or without the driver."""
    if is_url(place):
        from p2l.serving.router.storage.postgres import PostgresDatabase

        return PostgresDatabase(place)
    if "://" in place:
        raise ConfigError("--feedback: a path of a SQLite file or postgresql://user@host/database is needed")
    return SqliteDatabase(place)
