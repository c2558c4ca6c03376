"""Open SQLite files that several processes write to."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from p2l.errors import DataError

_WAIT = 10.0
"""Seconds to wait for a lock of another process."""


def open_sqlite(path: str | Path, synchronous: Literal["OFF", "NORMAL"]) -> sqlite3.Connection:
    """Open a connection for all threads, in autocommit mode, to a file with a write-ahead log.

    A new file is readable by its owner alone, and so is its log: it may hold prompts, or names of keys.

    Args:
        path: the file, created if missing; ``:memory:`` for none.
        synchronous: what a crash of the machine may lose: OFF the last moments, NORMAL nothing after a checkpoint of
            the log. A crash of the process loses nothing.

    Raises:
        DataError: not a SQLite file, a folder that is not writable, or a lock held for longer than 10 seconds.
    """
    try:
        _create_private(path)
        connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT, check_same_thread=False)
        _log_ahead(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except sqlite3.Error as error:
        raise DataError(
            f"{path} cannot be opened as a SQLite file ({error}): its folder must exist and be writable, and a file "
            f"that is already there must be a SQLite file that no other program locks"
        ) from None
    return connection


def _create_private(path: str | Path) -> None:
    """Create a missing file with mode 0600; SQLite gives the files of its log the mode of the file."""
    if str(path) != ":memory:":
        with suppress(OSError):  # it is there already, or SQLite says what is wrong with the path
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on, with retries: SQLite does not wait if two connections do so to a new file."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if str(error) != "database is locked" or time.monotonic() > deadline:  # codes: Python 3.11
                raise
            time.sleep(0.005)


def make_tables(connection: sqlite3.Connection, path: str | Path, schema: str) -> None:
    """Create the missing tables and indices of a schema in the file at ``path``.

    Raises:
        DataError: a table of that name has other columns, or the file is not writable; closes the connection.
    """
    try:
        with closing(sqlite3.connect(":memory:")) as wanted:
            wanted.executescript(schema)
            names = [name for (name,) in wanted.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            other = [name for name in names if _columns(connection, name) not in ([], _columns(wanted, name))]
        reason = f"its table {other[0]} has other columns" if other else None
        if not other:
            connection.executescript(schema)
    except sqlite3.Error as error:
        reason = str(error)
    if reason is not None:
        connection.close()
        raise DataError(
            f"{path} cannot be used ({reason}): expected a writable file in which tables of these names are this "
            f"program's own; give another path"
        )


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
