"""The mean cost of a stream meets its target, from a cold start, over restarts, and with costs that are told late."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from p2l.errors import ConfigError, DataError
from p2l.routing import StreamBudget
from p2l.routing.policies import per_prompt

COSTS = np.array([1.0, 2.0, 5.0, 20.0, 60.0])


def draw_scores(size: int, seed: int = 0) -> np.ndarray:
    """Scores that rise with cost, by more on some prompts than on others."""
    rng = np.random.default_rng(seed)
    gain = rng.gamma(1.0, 0.05, (size, 1))
    return gain * np.log(COSTS) + rng.normal(size=(size, len(COSTS))) * 0.05


@pytest.mark.parametrize("target", [1.5, 3.0, 8.0, 20.0, 40.0])
def test_the_mean_cost_meets_the_target_within_2_percent(target):
    budget = StreamBudget(target)
    for scores in draw_scores(1000):
        budget.choose(scores, COSTS)
    assert budget.state.count == 1000
    assert budget.state.mean == pytest.approx(target, rel=0.02)


def test_one_price_buys_more_than_a_budget_on_each_prompt():
    scores, target = draw_scores(2000), 8.0
    budget = StreamBudget(target)
    ours = np.mean([row[budget.choose(row, COSTS).model] for row in scores])
    shares = per_prompt(scores, COSTS, np.array([budget.state.mean]))[0]
    assert ours > (shares * scores).sum(axis=1).mean() + 0.01


def test_true_costs_replace_estimates():
    """Estimates that are half of the truth: the truth meets the target."""
    budget, rng, spent = StreamBudget(8.0), np.random.default_rng(1), 0.0
    for scores in draw_scores(2000):
        spending = budget.choose(scores, COSTS)
        actual = spending.cost * 2 * rng.uniform(0.5, 1.5)
        budget.settle(spending, actual)
        spent += actual
    assert budget.state.spent == pytest.approx(spent)
    assert spent / 2000 == pytest.approx(8.0, rel=0.02)


def test_other_traffic_is_met_by_another_price():
    budget = StreamBudget(8.0)
    for scores in (*draw_scores(1500), *(5 * draw_scores(1500, seed=1))):
        budget.choose(scores, COSTS)
    assert budget.state.mean == pytest.approx(8.0, rel=0.02)


def test_never_overdrawn_by_more_than_allowed():
    budget = StreamBudget(1.5, overdraft=4.0)
    for count, scores in enumerate(draw_scores(300), start=1):
        budget.choose(scores, COSTS)
        assert budget.state.spent <= 1.5 * (count + 4) + 1e-9


def test_a_target_below_the_cheapest_model_takes_the_cheapest_and_one_above_all_the_best():
    scores = draw_scores(200)
    poor, rich = StreamBudget(0.5), StreamBudget(1000.0)
    chosen = [(poor.choose(row, COSTS).model, rich.choose(row, COSTS).model) for row in scores]
    assert np.mean([model == 0 for model, _ in chosen[20:]]) == 1
    assert np.mean([model == row.argmax() for (_, model), row in zip(chosen, scores)]) > 0.9


def test_savings_are_limited():
    """Prompts on which the dear models bring nothing save money, but not without end."""
    budget = StreamBudget(8.0, burst=10.0)
    for _ in range(500):
        assert budget.choose(-COSTS, COSTS).model == 0
    assert budget.state.credit <= 10 * 8.0 + 1e-9
    assert budget.price is None


def test_masks_and_ties():
    budget = StreamBudget(8.0)
    assert budget.choose(np.zeros(5), COSTS[::-1].copy()).model == 4
    mask = np.array([False, False, True, True, False])
    scores = np.array([np.nan, 9.0, 1.0, 1.0, np.inf])
    assert budget.choose(scores, COSTS, mask).model == 2
    with pytest.raises(DataError, match="finite"):
        budget.choose(scores, COSTS)
    with pytest.raises(ConfigError, match="no model"):
        budget.choose(scores, COSTS, np.zeros(5, dtype=bool))
    with pytest.raises(DataError, match="finite number"):
        budget.settle(budget.choose(np.zeros(5), COSTS), float("nan"))


def test_a_restart_goes_on_where_the_stream_was(tmp_path):
    scores, path = draw_scores(400), tmp_path / "state.json"
    whole, first = StreamBudget(8.0), StreamBudget(8.0, path)
    expected = [whole.choose(row, COSTS) for row in scores]
    found = [first.choose(row, COSTS) for row in scores[:200]]
    first.save()
    second = StreamBudget(8.0, path)
    found += [second.choose(row, COSTS) for row in scores[200:]]
    assert found == expected
    assert second.state == whole.state
    assert json.loads(path.read_text())["count"] == 200


def test_a_changed_target_keeps_the_price_and_starts_the_account_anew(tmp_path):
    path = tmp_path / "state.json"
    old = StreamBudget(8.0, path)
    for row in draw_scores(100):
        old.choose(row, COSTS)
    old.save()
    new = StreamBudget(4.0, path)
    assert new.state.count == 0 and new.state.credit == 0
    assert new.state.log_price == old.state.log_price


@pytest.mark.parametrize("text", ["", "{", "[]", '{"target": 8, "colour": 1}'])
def test_a_broken_state_is_told(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(DataError, match="delete it to start anew"):
        StreamBudget(8.0, path)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_targets(target):
    with pytest.raises(ConfigError, match="target"):
        StreamBudget(target)


def test_threads_lose_nothing():
    budget, scores = StreamBudget(8.0), draw_scores(400)

    def ask(row: np.ndarray) -> float:
        spending = budget.choose(row, COSTS)
        budget.settle(spending, spending.cost + 1)
        return spending.cost + 1

    with ThreadPoolExecutor(8) as pool:
        spent = sum(pool.map(ask, scores))
    assert budget.state.count == 400
    assert budget.state.spent == pytest.approx(spent)
