"""Choices by posterior sampling: propensities that are those of the choices, and limits that hold."""

from functools import partial

import numpy as np
import pytest

from p2l.errors import ConfigError, DataError
from p2l.online.exploration import Exploration, ExploreOptions
from p2l.routing import StreamBudget

COST = np.array([1.0, 2.0, 10.0])
SCORE = np.array([0.5, 0.6, 0.62])
ALL = np.ones(3, dtype=bool)
FREE = ExploreOptions(cost_share=1.0, most_loss=1.0)


def drawn(count: int, deviation: float = 0.2, seed: int = 0) -> np.ndarray:
    return SCORE + deviation * np.random.default_rng(seed).standard_normal((count, 3))


def test_probabilities_are_the_shares_of_draws_in_which_each_model_is_best() -> None:
    found = Exploration(FREE).probabilities(
        SCORE, np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1.0]]), COST, 0.0, ALL, 9
    )
    assert found.tolist() == [0.25, 0.5, 0.25]
    sure = Exploration(FREE).probabilities(SCORE, np.tile(SCORE, (9, 1)), COST, 0.001, ALL)
    assert sure.tolist() == [0, 0, 1]


def test_a_model_is_not_tried_below_the_least_quality() -> None:
    draws = drawn(4000)
    gap = Exploration(ExploreOptions(1.0, most_loss=0.05)).probabilities(SCORE, draws, COST, 0.0, ALL, 100)
    floor = Exploration(ExploreOptions(1.0, 1.0, least_score=0.61)).probabilities(SCORE, draws, COST, 0.0, ALL, 100)
    assert gap[0] == 0 and 0.3 < gap[1] < 0.7
    assert floor.tolist() == [0, 0, 1]
    below = Exploration(ExploreOptions(1.0, 1.0, least_score=0.9)).probabilities(SCORE, draws, COST, 0.0, ALL, 100)
    assert below.tolist() == [0, 0, 1]  # the best choice stays: somebody must answer


def test_only_able_models_are_drawn() -> None:
    found = Exploration(FREE).probabilities(SCORE, drawn(500), COST, 0.0, np.array([True, False, True]), 100)
    assert found[1] == 0 and found.sum() == pytest.approx(1)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_exploring_costs_no_more_than_its_share_of_the_budget(share: float) -> None:
    exploration = Exploration(ExploreOptions(share, 1.0))
    extra = 0.0
    for step in range(200):
        found = exploration.probabilities(SCORE, drawn(32, seed=step), COST, 0.01, ALL, 2.0)
        best = (SCORE - 0.01 * COST).argmax()
        extra += float(found @ np.maximum(COST - COST[best], 0))
        assert extra <= share * 2.0 * (step + 1) + 1e-9
        assert found.sum() == pytest.approx(1)
    assert extra == pytest.approx(exploration.extra)
    assert extra >= 0.9 * share * 400  # the limit is what holds it back


def test_drawn_choices_of_a_stream_follow_their_propensities_and_its_budget() -> None:
    rng, exploration = np.random.default_rng(0), Exploration(FREE)
    account = StreamBudget(2.5)
    counts, expected = np.zeros(3), np.zeros(3)
    for _ in range(3000):
        score = SCORE + 0.05 * rng.standard_normal(3)
        draws = score + 0.1 * rng.standard_normal((32, 3))
        spending, found = account.draw(
            score, COST, ALL, partial(exploration.probabilities, score, draws, COST, budget=2.5), rng
        )
        assert found[spending.model] > 0 and spending.cost == COST[spending.model]
        counts[spending.model] += 1
        expected += found
    np.testing.assert_allclose(counts, expected, atol=4 * np.sqrt(3000) / 2)
    assert account.state.count == 3000
    assert account.state.mean == pytest.approx(2.5, rel=0.01)


def test_a_stream_draws_no_model_that_it_cannot_afford() -> None:
    account, seen = StreamBudget(0.2, overdraft=1.0), []

    def policy(price: float, able: np.ndarray) -> np.ndarray:
        seen.append(able.tolist())
        return able / able.sum()

    account.draw(SCORE, COST, ALL, policy, np.random.default_rng(0))
    assert seen == [[True, False, False]]
    with pytest.raises(DataError, match="a model that may be chosen is needed"):
        account.draw(SCORE, COST, ~ALL, policy, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"cost_share": 1.5}, {"most_loss": -0.1}, {"least_score": float("nan")}])
def test_limits_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ExploreOptions(**wrong)
