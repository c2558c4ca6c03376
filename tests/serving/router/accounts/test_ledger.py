"""The ledger alone: budgets, periods, rates, workers."""

from contextlib import closing
from pathlib import Path

import pytest

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.accounts.ledger import Ledger
from p2l.serving.router.accounts.reservations import Reservation
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.storage.shared_state import open_shared_state
from tests.serving.router.fakes import Clock


def test_a_budget_to_the_cent_and_its_period() -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", budget=1.0, period=60.0)
    *held, refused = [ledger.hold(key, 0.1) for _ in range(11)]
    assert all(held) and refused is None
    ledger.settle(key, held[0], 0.0)
    assert ledger.hold(key, 0.1) and not ledger.hold(key, 0.1)
    clock.now += 60.0
    assert ledger.hold(key, 1.0) and ledger.spent(key) == 1.0


@pytest.mark.parametrize(("actual", "charged"), [(4.0, 0.0), (0.0, 0.0), (10.0, 0.0), (11.5, 1.5)])
def test_an_answer_of_the_last_period_gives_nothing_to_this_one(actual: float, charged: float) -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", budget=20.0, period=60.0)
    late, early = Reservation(ledger, key), Reservation(ledger, key)
    assert late.reserve(10.0)
    clock.now += 61.0
    assert early.reserve(10.0)
    early.settle(9.0)
    late.settle(actual)
    assert ledger.spent(key) == 9.0 + charged


def test_actual_costs_wait_for_a_locked_state(tmp_path: Path) -> None:
    state = open_shared_state(tmp_path / "state.sqlite")
    state.execute("PRAGMA busy_timeout = 0")
    ledger, key = Ledger(state), KeyConfig("k", "sk", budget=10.0)
    reservations = [Reservation(ledger, key) for _ in range(3)]
    assert all(reservation.reserve(3.0) for reservation in reservations)
    with closing(open_shared_state(tmp_path / "state.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        reservations[0].settle(1.0)
        reservations[1].release()
        other.execute("ROLLBACK")
    assert Reservation(ledger, key).reserve(6.0) and ledger.spent(key) == 1.0 + 3.0 + 6.0


def test_a_rate_refills_evenly() -> None:
    clock = Clock()
    ledger = Ledger(open_shared_state(None), clock)
    key = KeyConfig("k", "sk", requests_per_minute=6)
    for _ in range(6):
        ledger.count_request(key)
    with pytest.raises(ApiError):
        ledger.count_request(key)
    clock.now += 10.0
    ledger.count_request(key)
    with pytest.raises(ApiError):
        ledger.count_request(key)


def test_workers_share_one_account(tmp_path: Path) -> None:
    ledgers = [Ledger(open_shared_state(tmp_path / "state.sqlite")) for _ in range(3)]
    key = KeyConfig("k", "sk", budget=5.0)
    assert [ledgers[i % 3].hold(key, 1.0) is not None for i in range(7)] == [True] * 5 + [False] * 2
    assert ledgers[0].spent(key) == 5.0
