"""The SQLite file that the workers of one server share: spending, rates, sessions, caches, responses, thoughts."""

import sqlite3
from pathlib import Path

from p2l.sqlite import make_tables, open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, spent REAL NOT NULL, period_start REAL NOT NULL,
    tokens REAL NOT NULL, updated REAL NOT NULL);
"""
_CACHE_TABLE = """
CREATE TABLE IF NOT EXISTS prompt_caches (
    owner TEXT NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, cached INTEGER NOT NULL, prompt INTEGER NOT NULL,
    estimate INTEGER NOT NULL, warm_until REAL NOT NULL, used REAL NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (owner, session, model)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS prompt_caches_expire ON prompt_caches (expires);
"""
_THOUGHT_TABLE = """
CREATE TABLE IF NOT EXISTS thoughts (
    owner TEXT NOT NULL, call TEXT NOT NULL, model TEXT NOT NULL, content BLOB NOT NULL, size INTEGER NOT NULL,
    expires REAL NOT NULL, PRIMARY KEY (owner, call));
CREATE INDEX IF NOT EXISTS thoughts_expire ON thoughts (expires);
"""
_MODEL_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    owner TEXT NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (owner, session)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {table}_expire ON {table} (expires);
"""


def open_shared_state(path: str | Path | None) -> sqlite3.Connection:
    """Open the state in a file, or in memory without a path. Each statement is a transaction.

    A statement fails at once if another process has locked the file: the event loop must not wait for it
    (``locked_files``). A crash of the server loses nothing; a crash of the machine may lose the last moments.
    """
    connection = open_sqlite(path or ":memory:", "OFF")
    models = "".join(_MODEL_TABLE.format(table=table) for table in ("sessions", "responses"))
    make_tables(connection, path or ":memory:", _SCHEMA + _CACHE_TABLE + _THOUGHT_TABLE + models)
    connection.execute("PRAGMA busy_timeout = 0")
    return connection
