"""The cheaper of two decisions, with and without the tail of a prompt."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.errors import ConfigError, DataError, InfeasibleBudget
from p2l.outcomes import BT, GRK
from p2l.routing import StreamBudget, cheapest_decision, erase_tail, make_router, with_common_costs
from p2l.types import Ranking

COSTS = np.array([1.0, 2.0, 10.0])
OPTIMIZERS = ("strict", "simple-lp", "optimal-lp")


def ranking(*coefs: float, costs: list[float] | None = None) -> Ranking:
    return Ranking(np.array(coefs), np.array(0.0), None if costs is None else np.array(costs))


@pytest.mark.parametrize(
    ("turns", "characters", "left"),
    [
        (("What is 2 + 2? xx yy",), 6, ("What is 2 + 2?",)),
        (("first", "abcdefgh"), 3, ("first", "abcde")),
        (("abcdefgh",), 100, ("abcd",)),
        (("abc",), 2, ("ab",)),
        (("first", ""), 5, ("first", "")),
    ],
)
def test_the_end_of_the_last_turn_is_left_out_and_half_of_it_kept(turns, characters, left):
    assert erase_tail(turns, characters) == left


def test_a_tail_needs_a_length():
    with pytest.raises(ConfigError, match="characters must be a whole number, at least 1; got 0"):
        erase_tail(("text",), 0)


@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(OPTIMIZERS),
    st.one_of(st.none(), st.floats(1.0, 12.0)),
)
def test_no_reading_alone_would_cost_less(rows, optimizer, budget):
    """Whatever the attacked reading says, the cost is at most that of the clean one."""
    router, readings = make_router(optimizer, GRK, COSTS), [ranking(*row) for row in rows]
    alone = [router.decide(one, budget, np.random.default_rng(0)).expected_cost for one in readings]
    found = cheapest_decision(router, readings, budget, np.random.default_rng(0))
    assert found.expected_cost == min(alone) and found.ranking is readings[alone.index(min(alone))]


def test_the_lower_of_two_scores_would_not_do():
    """A string that lowers the second LLM below the third leaves the lower scores with the dear third one."""
    clean, attacked = ranking(-1.0, 2.0, 1.9), ranking(-1.0, -2.0, 3.0)
    router, generator = make_router("simple-lp", BT, COSTS), np.random.default_rng(0)
    lower = clean._replace(coefs=np.minimum(clean.coefs, attacked.coefs))
    assert router.decide(lower, None, generator).model == 2
    assert cheapest_decision(router, [attacked, clean], None, generator).model == 1


def test_errors_are_those_of_a_single_reading():
    router, generator = make_router("simple-lp", BT, COSTS), np.random.default_rng(0)
    with pytest.raises(InfeasibleBudget):
        cheapest_decision(router, [ranking(0.0, 1.0, 2.0)] * 2, 0.5, generator)
    with pytest.raises(DataError, match="not finite"):
        cheapest_decision(router, [ranking(0.0, 1.0, 2.0), ranking(np.nan, 1.0, 2.0)], None, generator)


def test_a_string_cannot_make_a_model_look_cheap():
    """Predicted costs are the largest of the readings; a model without a prediction keeps none."""
    clean = ranking(0.0, 1.0, 2.0, costs=[1.0, np.nan, 10.0])
    attacked = ranking(0.0, 1.0, 9.0, costs=[1.0, np.nan, 0.1])
    common = with_common_costs([attacked, clean])
    for one in common:
        np.testing.assert_array_equal(one.costs, [1.0, np.nan, 10.0])
    router = make_router("strict", BT, COSTS, predicted=[True, False, True])
    found = cheapest_decision(router, common, 5.0, np.random.default_rng(0))
    assert found.model == 1 and found.expected_cost == 2.0
    assert with_common_costs([ranking(1.0), ranking(2.0)])[0].costs is None


def test_a_stream_takes_the_cheapest_of_its_choices_and_says_whose_it_is():
    budget = StreamBudget(3.0)
    budget.state = replace(budget.state, log_price=np.log(0.01))
    attacked, clean = np.array([0.1, 0.2, 0.9]), np.array([0.1, 0.6, 0.61])
    for rows, reading in ((np.stack([attacked, clean]), 1), (np.stack([clean, attacked]), 0)):
        spending = budget.choose(rows, COSTS)
        assert (spending.model, spending.cost, spending.reading) == (1, 2.0, reading)
    assert budget.state.count == 2 and budget.state.spent == 4.0


def test_one_reading_is_a_stream_as_before():
    rows = np.random.default_rng(0).random((200, 3))
    alone, stacked = StreamBudget(3.0), StreamBudget(3.0)
    assert [alone.choose(row, COSTS) for row in rows] == [stacked.choose(row[None], COSTS) for row in rows]


def test_a_mean_meets_its_target_with_two_readings():
    generator = np.random.default_rng(0)
    budget = StreamBudget(3.0)
    for _ in range(2000):
        row = generator.random(3) * COSTS**0.3
        budget.choose(np.stack([row, row + generator.normal(size=3) * 0.1]), COSTS)
    assert budget.state.mean == pytest.approx(3.0, rel=0.02)
