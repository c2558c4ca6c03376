"""The benchmark of learning from traffic: a cold router finds the better LLM within its budget, and follows changes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from p2l.online.exploration import ExploreOptions
from p2l.online.head_filter import FilterOptions
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import GRK
from tests.running import ROOT

FREELY = ExploreOptions(1.0, 1.0)


@pytest.fixture(scope="module")
def online() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks" / "public"))
        before = set(sys.modules)
        yield __import__("online")
        for name in set(sys.modules) - before:
            if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def a_world(count: int = 400) -> tuple:
    """Return traffic of three LLMs, of which the second is good on half of the prompts, and a cold head."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((count, 3))
    head = OnlineHead.of(cold_posterior(states, 3, GRK), "abc", GRK)
    chance = np.column_stack((np.full(count, 0.5), np.where(states[:, 0] > 0, 0.95, 0.5), np.full(count, 0.9)))
    reward = (rng.random((count, 3)) < chance).astype(float)
    return head, head.features(states), reward, np.tile([1.0, 1.2, 9.0], (count, 1))


def test_a_cold_router_learns_within_its_budget(online: ModuleType) -> None:
    stream = sys.modules["online_stream"]
    head, features, reward, cost = a_world()
    traffic = stream.Traffic(features, reward, cost)
    options = FilterOptions(draws=16, dispersion=0.5, limits=stream.limits())
    cold = stream.Learner.cold(head, np.array([1.0, 1.0, 9.0]), options)
    found = stream.run(cold, traffic, 3.0, stream.Way(), explore=FREELY)
    blind = reward[:, 0].mean() + (3.0 - 1) / 8 * (reward[:, 2].mean() - reward[:, 0].mean())
    assert found.cost.mean() == pytest.approx(3.0, rel=0.05) and (found.propensity > 0).all()
    assert found.reward[200:].mean() > blind + 0.03
    assert cold.state.count == 0  # a run leaves its learner as it was
    told = cold.copy()
    told.learn_all(traffic)
    settled = told.settled(options)
    np.testing.assert_allclose(settled.scores(features), told.scores(features))
    assert not settled.state.mean.any()
    again = stream.run(settled, traffic, 3.0, stream.Way(learns=False, explores=False), price=np.log(0.05))
    assert again.reward.mean() > found.reward.mean()
    grown = settled.with_model("d", 2.0)
    assert grown.scores(features).shape[1] == len(grown.costs.predict(features).T) == 4
    np.testing.assert_allclose(grown.scores(features)[:, :3], settled.scores(features))


def test_changes_are_counted_from_the_step_at_which_they_happen(online: ModuleType) -> None:
    changes, stream = (sys.modules[name] for name in ("online_changes", "online_stream"))
    at, count = changes.AT, changes.AT + 500

    def runs(switch: int) -> list:
        model = (np.arange(count) >= switch).astype(int)
        return [stream.Run(model, np.ones(count), np.ones(count), np.ones(count), 0.0)] * 3

    right = changes.shares(runs(at + 40), 1)
    assert changes.steps_until_right(right, 1.0) == 40 + 90  # nine tenths of the last hundred
    assert changes.steps_until_right(changes.shares(runs(count), 1), 1.0) == float("inf")
    assert changes.interval_of_steps(right, 1.0) == "130 [130, 130]"
    traffic = stream.Traffic(np.ones((4, 1)), np.ones((4, 2)), np.ones((4, 2)))
    worse = changes.Change("", "worse", "", "", 1.0, 0.5)
    assert changes.changed(traffic, worse, 1, 2).reward.tolist() == [[1, 1], [1, 1], [1, 0.5], [1, 0.5]]
    assert traffic.reward.min() == 1


def test_the_picture_and_the_table_need_all_runs(online: ModuleType, tmp_path: Path) -> None:
    published = online.published_figures()
    rng = np.random.default_rng(0)
    for name in online.WAYS:
        for budget in published["budgets"]:
            part = {key: rng.random((3, 40)) * budget for key in ("cost", "propensity", "model")}
            np.savez(
                tmp_path / f"online_{name}_{budget:.3g}.npz", reward=rng.random((3, 40)), extra=np.zeros(3), **part
            )
    runs = online.kept_runs(tmp_path)
    shares = [{"after": rng.random((3, 900)), "500.0": rng.random((3, 900))} for _ in online.CHANGES]
    online.draw(runs, published, shares, tmp_path / "online.png")
    assert (tmp_path / "online.png").stat().st_size > 10_000
    rows = online.table(tmp_path).splitlines()
    assert [row.count("|") for row in rows] == [8] * len(rows)
    assert "| published | 0.8128 |" in rows[-1]
