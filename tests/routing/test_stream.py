"""The mean cost of a stream meets its target: from a cold start, over restarts, and with late settlement."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from p2l.errors import ConfigError, DataError
from p2l.routing import StreamBudget
from p2l.routing.evaluation.policies import per_prompt

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


def test_a_smaller_gain_swings_a_known_price_less():
    """Costs of the dearest model come in lumps of 60 targets; the mean still meets the target."""
    spread, means = {}, {}
    for gain in (0.1, 0.02):
        budget, prices = StreamBudget(3.0, gain=gain), []
        budget.state = replace(budget.state, log_price=math.log(0.02))
        for scores in draw_scores(3000):
            prices.append(math.log(budget.choose(scores, COSTS).price))
        spread[gain], means[gain] = np.std(prices[1000:]), budget.state.mean
    assert spread[0.02] < 0.6 * spread[0.1]
    assert means == pytest.approx({0.1: 3.0, 0.02: 3.0}, rel=0.02)


def test_a_gain_of_0_is_an_error():
    with pytest.raises(ConfigError, match="gain"):
        StreamBudget(3.0, gain=0.0)


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


def test_a_debt_forbids_only_what_would_add_to_it():
    """A bill far above its estimate: what costs less than the target may still be chosen, and pays the debt off."""
    budget, scores = StreamBudget(8.0), np.array([0.0, 0.1, 0.5, 0.6, 0.7])
    budget.settle(budget.choose(scores, COSTS), 500.0)
    chosen = [budget.choose(scores, COSTS).model for _ in range(50)]
    assert set(chosen) == {2}
    assert budget.state.credit == pytest.approx(8.0 * 51 - 500.0 - 5.0 * 50)


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
    scores, path = draw_scores(400), tmp_path / "state.sqlite"
    whole, first = StreamBudget(8.0), StreamBudget(8.0, path)
    expected = [whole.choose(row, COSTS) for row in scores]
    found = [first.choose(row, COSTS) for row in scores[:200]]
    first.close()
    second = StreamBudget(8.0, path)
    found += [second.choose(row, COSTS) for row in scores[200:]]
    assert found == expected
    assert second.state == whole.state


def test_a_changed_target_keeps_the_price_and_starts_a_new_account(tmp_path):
    path = tmp_path / "state.sqlite"
    old = StreamBudget(8.0, path)
    for row in draw_scores(100):
        old.choose(row, COSTS)
    new = StreamBudget(4.0, path)
    assert new.state.count == 0 and new.state.credit == 0
    assert new.state.log_price == old.state.log_price
    new.choose(draw_scores(1)[0], COSTS)
    assert StreamBudget(8.0, path).state == old.state  # a process that has not yet heard of the change loses nothing


def test_budgets_that_share_a_file_share_the_account(tmp_path):
    """Two in turns choose as one alone, and each knows what the other's choice truly cost."""
    scores, path = draw_scores(1000), tmp_path / "state.sqlite"
    alone, both = StreamBudget(8.0), [StreamBudget(8.0, path) for _ in range(2)]
    expected = [alone.choose(row, COSTS) for row in scores]
    assert [both[index % 2].choose(row, COSTS) for index, row in enumerate(scores)] == expected
    both[0].settle(expected[-1], expected[-1].cost + 100)
    last = both[1].choose(scores[0], COSTS)
    assert both[1].state.count == 1001
    assert both[1].state.spent == pytest.approx(alone.state.spent + 100 + last.cost)


def test_budgets_that_share_a_file_at_the_same_time_lose_nothing(tmp_path):
    path, scores = tmp_path / "state.sqlite", draw_scores(600)

    def ask(half: int) -> float:
        budget = StreamBudget(8.0, path)
        return sum(budget.choose(row, COSTS).cost for row in scores[half::2])

    with ThreadPoolExecutor(2) as pool:
        spent = sum(pool.map(ask, range(2)))
    state = StreamBudget(8.0, path).state
    assert state.count == 600
    assert state.spent == pytest.approx(spent)
    assert state.mean == pytest.approx(8.0, rel=0.03)


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(DataError, match="folder must exist"):
        StreamBudget(8.0, tmp_path / "none" / "state.sqlite")


def test_another_kind_of_file_is_reported(tmp_path):
    path = tmp_path / "state.json"
    path.write_text('{"target": 8.0}' * 100)
    with pytest.raises(DataError, match="cannot be opened as a SQLite file"):
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
