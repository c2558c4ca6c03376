"""Plans keep the budget and the capacities, are as good as any, and say why there is none."""

import itertools

import numpy as np
import pytest

from p2l.errors import ConfigError, InfeasiblePlan
from p2l.routing import Capacity, assign_batch


def best_by_hand(scores, costs, budget, capacities) -> float:
    """The best sum of scores over all assignments."""
    size, models = scores.shape
    rows, best = np.arange(size), -np.inf
    for assignment in itertools.product(range(models), repeat=size):
        counts = np.bincount(assignment, minlength=models)
        fits = all(c.least <= counts[m] <= (size if c.most is None else c.most) for m, c in capacities.items())
        if fits and costs[rows, assignment].sum() <= budget:
            best = max(best, scores[rows, assignment].sum())
    return best


@pytest.mark.parametrize("seed", range(6))
def test_small_batches_against_all_assignments(seed):
    rng = np.random.default_rng(seed)
    scores, costs = rng.random((6, 3)), rng.random((6, 3)) * 10
    capacities = {} if seed % 2 else {0: Capacity(least=2), 2: Capacity(most=2)}
    budget = float(costs.mean(axis=1).sum()) * 0.9
    found = assign_batch(scores, costs, budget, capacities)
    counts = np.bincount(found.model, minlength=3)
    assert found.cost <= budget + 1e-9
    assert found.score == pytest.approx(scores[np.arange(6), found.model].sum())
    assert all(c.least <= counts[m] <= (6 if c.most is None else c.most) for m, c in capacities.items())
    best = best_by_hand(scores, costs, budget, capacities)
    assert best <= found.bound + 1e-7
    assert found.score >= best - scores.max()  # one prompt may be lost to rounding


def test_a_large_batch_is_close_to_its_bound():
    rng = np.random.default_rng(0)
    scores, costs = rng.random((300, 5)), np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    found = assign_batch(scores + costs / 40, costs, 1200.0, {4: Capacity(most=20)})
    assert found.cost <= 1200 + 1e-9 and np.bincount(found.model, minlength=5)[4] <= 20
    assert found.score > found.bound * 0.998
    assert found.shadow_price > 0


def test_without_a_budget_each_prompt_gets_its_best_model():
    scores = np.random.default_rng(0).random((20, 4))
    found = assign_batch(scores, np.ones(4))
    np.testing.assert_array_equal(found.model, scores.argmax(axis=1))
    assert found.shadow_price == 0 and found.score == pytest.approx(found.bound)


@pytest.mark.parametrize(
    ("budget", "capacities", "reason"),
    [
        (3.0, {}, "the cheapest models alone cost 4, above 3"),
        (
            5.0,
            {0: Capacity(most=2)},
            r"within the capacities the batch costs 6 or more, above 5 \(without capacities 4",
        ),
        (None, {0: Capacity(most=1), 1: Capacity(most=2)}, "allow at most 3 prompts in all; there are 4"),
        (None, {0: Capacity(least=3), 1: Capacity(least=2)}, "the capacities require 5 prompts; there are 4"),
        (None, {1: Capacity(least=3, most=2)}, "model 1: least 3 is above most 2"),
    ],
)
def test_what_cannot_be_met_is_named(budget, capacities, reason):
    with pytest.raises(InfeasiblePlan, match=reason):
        assign_batch(np.ones((4, 2)), np.array([1.0, 2.0]), budget, capacities)


def test_a_budget_that_leaves_one_assignment():
    """Two of the first and one of the second model cost 4; nothing else that keeps the capacity costs so little."""
    scores = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0]])
    found = assign_batch(scores, np.array([1.0, 2.0]), 4.0, {1: Capacity(least=1)})
    assert found.model.tolist() == [0, 1, 0] and (found.score, found.cost) == (3.0, 4.0)


def test_bad_numbers():
    with pytest.raises(ConfigError, match="finite scores and costs"):
        assign_batch(np.array([[np.nan, 1.0]]), np.ones(2))
    with pytest.raises(ConfigError, match="finite scores and costs"):
        assign_batch(np.ones((2, 2)), np.ones((3, 2)))
    with pytest.raises(ConfigError, match="at least one prompt"):
        assign_batch(np.ones((0, 2)), np.ones(2))
    with pytest.raises(ConfigError, match="model 7"):
        assign_batch(np.ones((2, 2)), np.ones(2), None, {7: Capacity()})
