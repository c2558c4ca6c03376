"""A shared state: the same in all processes; a kill loses nothing and applies nothing twice; changes can be undone."""

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from p2l.errors import DataError
from p2l.online import state_store
from p2l.online.head_filter import FilterOptions, HeadFilter, HeadState
from p2l.online.state_store import StateStore
from tests.online.worlds import drawn_weights, scores_of, small_head, votes_of


def a_chain(**options: object) -> HeadFilter:
    return HeadFilter(small_head(models=2, hidden=2), FilterOptions(memory=300, draws=3, **options))  # type: ignore[arg-type]


CHAIN = a_chain()
TRUTH = drawn_weights(CHAIN.head, np.random.default_rng(1))
GIVEN = [scores_of(CHAIN.head, TRUTH, 1, seed, f"key{seed % 2}") for seed in range(20)]
GIVEN += [votes_of(CHAIN.head, TRUTH, 1, seed, "voter") for seed in range(20)]


def same(one: HeadState, two: HeadState) -> bool:
    parts = all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("mean", "covariance", "draws"))
    return parts and one.count == two.count and one.keys.keys() == two.keys.keys()


def folded(rows: list[int]) -> HeadState:
    state = CHAIN.start()
    for row in rows:
        state = CHAIN.update(state, GIVEN[row])
    return state


def test_processes_share_one_state_and_ids_count_once(tmp_path: Path) -> None:
    one, two = StateStore(tmp_path / "state", CHAIN), StateStore(tmp_path / "state", CHAIN)
    for row in range(10):
        assert (one if row % 2 else two).add(f"vote {row}", GIVEN[row])
    assert not two.add("vote 3", GIVEN[11])
    assert same(one.refresh(), two.refresh()) and same(one.state, folded(list(range(10))))
    assert one.version == two.version == 10
    assert [line.owner for line in one.audit()] == ["key0", "key1"] * 5
    later = StateStore(tmp_path / "state", CHAIN)
    assert same(later.state, one.state)


def test_a_restart_begins_at_a_snapshot_and_a_damaged_one_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_store, "_EVERY", 8)
    store = StateStore(tmp_path / "state", CHAIN)
    for row in range(20):
        store.add(str(row), GIVEN[row])
    whole = store.refresh()
    with sqlite3.connect(tmp_path / "state") as raw:
        assert raw.execute("SELECT version FROM snapshots").fetchall() == [(8,), (16,)]
        monkeypatch.setattr(CHAIN, "start", lambda: pytest.fail("the snapshot was not used"))
        again = StateStore.__new__(StateStore)
        again._chain, again._connection, again._path = CHAIN, store._connection, "state"
        assert again._snapshot()[0] == 16
        raw.execute("UPDATE snapshots SET state = zeroblob(99) WHERE version = 16")
    monkeypatch.undo()
    assert same(StateStore(tmp_path / "state", CHAIN).state, whole)
    assert "snapshot 16 cannot be read (its checksum is wrong); an earlier one is used" in caplog.text


def test_a_rollback_reaches_other_processes_and_stays_in_the_audit(tmp_path: Path) -> None:
    one, two = StateStore(tmp_path / "state", CHAIN), StateStore(tmp_path / "state", CHAIN)
    for row in range(12):
        one.add(str(row), GIVEN[row])
    two.refresh()
    assert one.rollback(5, "poisoned") == 7
    assert same(one.state, folded(list(range(5)))) and same(two.refresh(), one.state)
    assert not two.add("7", GIVEN[7])  # what was taken back does not come again
    two.add("new", GIVEN[30])
    assert same(one.refresh(), folded([0, 1, 2, 3, 4, 30]))
    kinds = [line.kind for line in one.audit()]
    assert (kinds.count("update"), kinds.count("revoked"), kinds.count("rollback")) == (6, 7, 1)
    assert next(line.id for line in one.audit() if line.kind == "rollback") == "poisoned"
    assert one.rollback(0, "all") == 6 and same(one.state, CHAIN.start())


def _add_until_killed(path: str, acknowledged: str) -> None:
    store = StateStore(path, CHAIN)
    with open(acknowledged, "a", buffering=1) as file:
        for row in range(10_000):
            store.add(f"id {row}", GIVEN[row % 20])
            file.write(f"{row}\n")
            store.refresh()


def test_a_kill_loses_nothing_and_applies_nothing_twice(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "state", tmp_path / "acknowledged"
    acknowledged.touch()
    process = multiprocessing.get_context("fork").Process(target=_add_until_killed, args=(str(path), str(acknowledged)))
    process.start()
    while acknowledged.read_text().count("\n") < 12:
        assert process.is_alive()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    known = len(acknowledged.read_text().splitlines())
    store = StateStore(path, CHAIN)
    for row in range(known + 3):  # the client, who does not know how far it came, sends all again
        store.add(f"id {row}", GIVEN[row % 20])
    state = store.refresh()
    assert state.count == len(store.audit()) == known + 3
    assert same(state, folded([row % 20 for row in range(known + 3)]))


def test_a_file_of_another_head_is_refused(tmp_path: Path) -> None:
    StateStore(tmp_path / "state", CHAIN).close()
    for other in (HeadFilter(small_head(models=2, hidden=2, seed=5), CHAIN.options), a_chain(dispersion=0.5)):
        with pytest.raises(
            DataError, match="was learned beside another head, or with other options; give another file"
        ):
            StateStore(tmp_path / "state", other)


def test_an_id_is_of_one_piece(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one piece of feedback is needed for an id; got 2"):
        StateStore(tmp_path / "state", CHAIN).add("x", scores_of(CHAIN.head, TRUTH, 2, 0))
