"""The cost head: recovery of simulated costs, what is unknown, and numbers that stay finite."""

import numpy as np
import pytest
import torch

from p2l.cost_facts import CostFacts
from p2l.errors import DataError
from p2l.evaluation.cost_fit import fit_cost_head
from p2l.heads import RankingHead

NOISE = 0.6


def simulated(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hidden states, expected costs and costs of two models: log-normal around a linear function of the state."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(size, 8))
    weight = np.random.default_rng(7).normal(size=(8, 2)) * [0.5, 0.1]
    log_cost = hidden @ weight + [-8.0, -5.0]
    return hidden, np.exp(log_cost + NOISE**2 / 2), np.exp(log_cost + NOISE * rng.normal(size=(size, 2)))


def test_recovers_the_expected_costs_of_a_simulation() -> None:
    hidden, _, costs = simulated(4000)
    head = fit_cost_head(hidden, costs, "dollars")
    np.testing.assert_allclose(head.weights.factor, np.exp(NOISE**2 / 2), rtol=0.05)  # the correction of a log-normal
    np.testing.assert_allclose(head.weights.bound, np.exp(1.645 * NOISE - NOISE**2 / 2), rtol=0.05)  # 95 %
    new, expected, paid = simulated(4000, seed=1)
    predicted = head(torch.from_numpy(new)).double().numpy()
    assert np.abs(np.log(predicted / expected)).mean() < 0.05
    np.testing.assert_allclose(predicted.mean(axis=0) / paid.mean(axis=0), 1.0, atol=0.05)


def test_costs_may_be_unknown() -> None:
    hidden, _, costs = simulated(400)
    costs = np.concatenate([costs, np.full((400, 2), np.nan)], axis=1)
    costs[::2, 1] = np.nan  # half of them
    costs[:5, 2] = [1.0, 2.0, 3.0, 4.0, 5.0]  # too few for a slope
    head = fit_cost_head(hidden, costs, "dollars")
    alone = fit_cost_head(hidden[1::2], costs[1::2, 1:2], "dollars")
    states = torch.from_numpy(hidden[:50])
    found = head(states)
    assert found[:, 3].isnan().all() and found[:, :3].isfinite().all()
    torch.testing.assert_close(found[:, 2], torch.full((50,), 3.0))  # their mean
    torch.testing.assert_close(found[:, 1], alone(states)[:, 0], rtol=1e-2, atol=0)  # features are scaled by all states
    facts = head.facts(("a", "b", "c", "none"))
    assert list(facts.mean) == ["a", "b", "c"] and facts.mean["c"] == pytest.approx(3.0)
    assert CostFacts.of(facts.to_dict()) == facts


@pytest.mark.parametrize("scale", [0.0, 1e3, 1e30, -1e30])
def test_predictions_stay_within_the_costs_that_were_measured(scale: float) -> None:
    hidden, _, costs = simulated(300)
    head = fit_cost_head(hidden, costs, "dollars")
    found = head(torch.from_numpy(scale * hidden)).double().numpy()
    assert (found >= costs.min(axis=0) * (1 - 1e-5)).all() and (found <= costs.max(axis=0) * (1 + 1e-5)).all()


def test_one_cost_for_all_prompts_is_predicted_as_it_is() -> None:
    head = fit_cost_head(np.random.default_rng(0).normal(size=(50, 4)), np.full((50, 1), 0.25), "credits")
    torch.testing.assert_close(head(torch.zeros(1, 4)), torch.tensor([[0.25]]))
    assert head.facts(("a",)) == CostFacts("credits", {"a": 0.25}, {"a": 1.0})


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf])
def test_costs_without_a_logarithm_are_refused(wrong: float) -> None:
    hidden, _, costs = simulated(30)
    costs[3, 1] = wrong
    with pytest.raises(DataError, match="must be a finite number above 0"):
        fit_cost_head(hidden, costs, "dollars")
    with pytest.raises(DataError, match="no cost is known"):
        fit_cost_head(hidden, np.full((30, 2), np.nan), "dollars")


def test_the_ranking_carries_costs_and_the_state_dict_does_not() -> None:
    hidden, _, costs = simulated(60)
    head = RankingHead(8, 2, "grk")
    states, before = torch.from_numpy(hidden[:3]).float(), set(head.state_dict())
    assert head(states).costs is None
    head.cost_head = fit_cost_head(hidden, costs, "dollars")
    ranking = head(states)
    assert set(head.state_dict()) == before and ranking.costs.shape == (3, 2)
    one = ranking.map(lambda x: x[1])
    torch.testing.assert_close(one.costs, ranking.costs[1])
    assert ranking.numpy().costs.dtype == np.float64


@pytest.mark.parametrize(
    "told", [None, [], {}, {"unit": "dollars", "mean": {"a": 1}, "bound": {}}, {"unit": 1, "mean": {}, "bound": {}}]
)
def test_facts_of_another_form_are_refused(told: object) -> None:
    with pytest.raises(DataError, match="costs"):
        CostFacts.of(told)
