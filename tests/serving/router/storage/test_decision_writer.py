"""Rows written in the background: in order, through failures, and without one bad row in the way of the others."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from p2l.errors import DataError
from p2l.serving.router.storage.databases import SqliteDatabase
from p2l.serving.router.storage.decision_writer import DecisionWriter
from p2l.serving.router.storage.open_database import make_database

STATEMENT = "INSERT INTO rows VALUES (?) ON CONFLICT (x) DO NOTHING"


async def opened(path: Path) -> SqliteDatabase:
    store = SqliteDatabase(path)
    await store.open("CREATE TABLE IF NOT EXISTS rows (x INTEGER PRIMARY KEY CHECK (x > 0))")
    return store


def test_a_refused_row_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def run() -> list[tuple[int, ...]]:
        store = await opened(tmp_path / "rows.sqlite")
        writer = DecisionWriter(store, STATEMENT)
        adding = [asyncio.ensure_future(writer.add((x,))) for x in (3, -1, 1, 3, 2)]
        await asyncio.sleep(0)  # all of them wait, and make one batch
        writer.start()
        await asyncio.gather(*adding)
        found = await store.rows("SELECT x FROM rows ORDER BY rowid")
        await writer.close()
        await store.close()
        return found

    assert asyncio.run(run()) == [(1,), (2,), (3,)]


def test_rows_wait_while_the_store_is_locked(tmp_path: Path) -> None:
    async def run() -> list[tuple[int, ...]]:
        store = await opened(tmp_path / "rows.sqlite")
        other = sqlite3.connect(tmp_path / "rows.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer = DecisionWriter(store, STATEMENT)
        writer.start()
        for x in (1, 2, 3):
            await writer.add((x,))
        assert await store.rows("SELECT x FROM rows") == []
        other.execute("COMMIT")
        other.close()
        await asyncio.sleep(0.6)
        await writer.close()
        found = await store.rows("SELECT x FROM rows")
        await store.close()
        return found

    assert asyncio.run(run()) == [(1,), (2,), (3,)]


def test_an_impossible_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        make_database(str(tmp_path / "nowhere" / "f.sqlite"))
