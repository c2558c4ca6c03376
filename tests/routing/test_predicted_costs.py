"""Routing by the cost that each prompt is expected to have."""

import numpy as np
import pytest
import torch

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError, DataError, InfeasibleBudget
from p2l.outcomes import BT, GRK
from p2l.routing import make_router
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.routing_evaluation import GeneralScores, evaluate_routing, predicted_costs
from p2l.types import Ranking

COEFS = torch.tensor([0.0, 1.0, 2.0])


def ranking(*costs: float) -> Ranking:
    return Ranking(COEFS, None, torch.tensor(costs))


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
def test_predicted_costs_decide_as_fixed_ones_of_the_same_size(optimizer: str) -> None:
    rng = np.random.default_rng(0)
    router = make_router(optimizer, GRK, [9.0, 9.0, 9.0], predicted=[True] * 3)
    for _ in range(200):
        costs, budget = np.exp(rng.normal(size=3)).astype(np.float32), float(np.exp(rng.normal()))
        fixed = make_router(optimizer, GRK, costs.astype(np.float64))
        asked = Ranking(torch.from_numpy(rng.normal(size=3)), torch.tensor(0.5), torch.from_numpy(costs))
        outcomes = []
        for one in (router, fixed):
            try:
                found = one.decide(asked, budget, np.random.default_rng(1))
            except InfeasibleBudget as error:
                outcomes.append((error.cheapest, error.cost))
            else:
                outcomes.append((found.model, found.expected_cost, found.expected_score, found.shadow_price))
                assert one.frontier(asked).cost.tolist() == fixed.frontier(asked).cost.tolist()
            assert one.ranked(asked, budget).tolist() == fixed.ranked(asked, budget).tolist()
        assert outcomes[0] == pytest.approx(outcomes[1])


def test_fixed_costs_stand_beside_predicted_ones() -> None:
    router = make_router("strict", BT, [1.0, 0.0, 3.0], predicted=[False, True, False])
    assert router.costs_of(ranking(7.0, 2.0, 7.0)).tolist() == [1.0, 2.0, 3.0]
    rng = np.random.default_rng(0)
    assert router.decide(ranking(7.0, 2.0, 7.0), 2.5, rng).model == 1
    assert router.decide(ranking(7.0, 2.6, 7.0), 2.5, rng).model == 0


def test_costs_that_are_missing_or_no_numbers_are_refused() -> None:
    router = make_router("strict", BT, [1.0, 1.0, 1.0], predicted=[False, True, False])
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="its checkpoint predicts no costs"):
        router.decide(Ranking(COEFS, None), None, rng)
    for wrong in (np.nan, np.inf, -1.0):
        with pytest.raises(DataError, match="cost of model 1 is not a finite number"):
            router.decide(ranking(1.0, wrong, 1.0), None, rng)
    assert router.decide(ranking(np.nan, 1.0, np.nan), None, rng).model == 2  # theirs are fixed
    with pytest.raises(ConfigError, match="predicted: 3 truth values are needed; got 2"):
        make_router("strict", BT, [1.0, 1.0, 1.0], predicted=[True, False])


def world(size: int) -> tuple[np.ndarray, np.ndarray, MeasuredScores]:
    """Two LLMs; the better one is ten times as dear on half of the prompts, and gains the same everywhere."""
    rng = np.random.default_rng(0)
    dear = rng.random(size) < 0.5
    cost = np.stack([np.full(size, 1.0), np.where(dear, 20.0, 2.0)], axis=1)
    score = np.tile([0.4, 0.8], (size, 1))
    prompts = tuple((f"prompt {i}",) for i in range(size))
    return score, cost, MeasuredScores(("cheap", "good"), prompts, score, np.ones(score.shape), cost)


@pytest.mark.parametrize("policy", [policies.per_prompt, policies.strict, policies.batch])
def test_every_policy_spends_where_the_same_gain_is_cheap(policy) -> None:
    score, cost, _ = world(200)
    budget = np.array([2.0])
    shares = policy(score, cost, budget)[0]
    mean = policy(score, cost.mean(axis=0), budget)[0]
    assert (shares * cost).sum() / 200 < 3.0
    assert (shares * score).sum() > (mean * score).sum() + 10
    np.testing.assert_array_equal(
        policy(score, np.tile(cost.mean(axis=0), (200, 1)), budget), policy(score, cost.mean(axis=0), budget)
    )


def test_the_stream_budget_gains_by_predicted_costs_at_the_same_spending() -> None:
    score, cost, measured = world(1000)
    budget = np.array([2.0])
    found = {}
    for name, expected in (("mean", cost.mean(axis=0)), ("predicted", cost)):
        shares = policies.stream(score, expected, budget, measured)[0]
        assert (shares * cost).sum() / 1000 == pytest.approx(2.0, rel=0.15)
        found[name] = (shares * score).sum() / 1000
    assert found["predicted"] > found["mean"] + 0.1


def test_curves_take_predicted_costs() -> None:
    score, cost, measured = world(100)
    general = GeneralScores.of(measured)
    plain = evaluate_routing(score, general, measured, num_budgets=3)
    same = evaluate_routing(score, general, measured, num_budgets=3, cost=np.tile(general.cost, (100, 1)))
    assert plain.summary() == same.summary()
    better = evaluate_routing(score, general, measured, num_budgets=3, cost=cost)
    low, high = plain.ends
    assert better.curves["stream"].area(low, high)[0] > plain.curves["stream"].area(low, high)[0]
    rankings = Ranking(torch.zeros(2, 3), None, torch.tensor([[1.0, 2.0, torch.nan]] * 2))
    assert predicted_costs(rankings, [1, 0]).tolist() == [[2.0, 1.0]] * 2
    with pytest.raises(ConfigError, match="does not predict the costs of all LLMs"):
        predicted_costs(rankings, [0, 2])
    with pytest.raises(ConfigError, match="predicts no costs"):
        predicted_costs(rankings._replace(costs=None), [0])
