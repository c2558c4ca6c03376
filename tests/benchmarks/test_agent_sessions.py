"""The replay of agent sessions charges what providers charge, and compares policies at equal scores."""

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from tests.running import ROOT


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield __import__("agent_sessions")
        del sys.modules["agent_sessions"]


def request(bench: ModuleType, added: int, pause: float = 1.0) -> object:
    score = np.array([0.9, 0.8, 0.7, 0.6])
    return bench.Request(added, 100, pause, True, score, score, score)


def test_a_session_is_charged_by_hand(bench: ModuleType) -> None:
    """Opus: 10,000 tokens are written; then 10,000 are read and 1,100 written; then all is written, twice."""
    replay = bench.Replay()
    expected = [10_000 * 6.25 + 100 * 25, 10_000 * 0.5 + 1100 * 6.25 + 100 * 25, 12_200 * 6.25 + 100 * 25]
    for added, pause, cost in zip((10_000, 1000, 1000), (1.0, 1.0, 301.0), np.cumsum(expected)):
        replay.time += pause
        replay.send(0, request(bench, added))
        assert replay.cost == pytest.approx(cost / 1e6)
    replay.send(3, request(bench, 1000))  # all 13,300 tokens enter at the other model
    assert replay.cost == pytest.approx((sum(expected) + 13_300 * 0.25 + 100 * 2) / 1e6)
    assert (replay.switches, dict(replay.warm())) == (1, {0: 12_200, 3: 13_300})


def test_costs_are_compared_at_the_same_score(bench: ModuleType) -> None:
    curve = bench.Curve(np.array([[1.0, 4.0]]), np.array([[0.5, 0.7]]), np.zeros((1, 2)))
    found = bench.cost_at(curve, np.array([0.6, 0.9]), np.ones((2, 1)))
    assert found[0] == pytest.approx(2.0) and np.isnan(found[1])


def test_policies_do_what_their_names_say(bench: ModuleType) -> None:
    rng = np.random.default_rng(3)
    sessions = [bench.draw_session(rng, 1.0) for _ in range(8)]
    assert all(one[0].is_turn for one in sessions)
    prices = bench.PRICES[[9]]
    found = {
        name: bench.replay_all(sessions, policy, prices)
        for name, policy in (("never", bench.never), ("follow", bench.follow), ("ours", bench.ours("per_turn", 1.0)))
    }
    assert not found["never"].switches.any()
    assert found["ours"].switches.sum() < found["follow"].switches.sum()
    whole = bench.ours("per_turn", np.inf)  # a switch without a price
    assert bench.replay_all(sessions, whole, prices).switches.sum() > found["ours"].switches.sum()
