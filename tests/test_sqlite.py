"""A SQLite file that many open at once."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from p2l import sqlite
from p2l.errors import DataError
from p2l.sqlite import open_sqlite


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path):
    """SQLite itself refuses some of them: without another try, about one in twelve rounds failed."""
    barrier = Barrier(8)

    def open_one(path):
        barrier.wait()
        connection = open_sqlite(path, "OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS seen (number)")
        connection.execute("INSERT INTO seen VALUES (1)")
        connection.close()

    for turn in range(60):
        path = tmp_path / f"{turn}.sqlite"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(open_one, [path] * 8))
        assert sqlite3.connect(path).execute("SELECT count(*) FROM seen").fetchone() == (8,)


def test_a_file_that_stays_locked_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_WAIT", 0.05)
    holder = sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="database is locked"):
        open_sqlite(tmp_path / "held.sqlite", "OFF")


def test_other_errors_are_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(DataError, match="unable to open"):
        open_sqlite(tmp_path / "none" / "state.sqlite", "OFF")
