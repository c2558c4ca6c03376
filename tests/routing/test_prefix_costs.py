"""The beginning of a conversation costs what its tokens cost at each model, by hand and by laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.errors import ConfigError
from p2l.outcomes import BT
from p2l.routing import CachePrices, PrefixPrices, make_router
from p2l.types import Ranking

# dollars a million: plain, entered, cached
CLAUDE, GPT = CachePrices(3e-6, 3.75e-6, 0.3e-6), CachePrices(1.25e-6, 1.25e-6, 0.125e-6)
prices = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda three: CachePrices(three[0], max(three[1:]), min(three[1:]), least=10)
)


def test_prices_by_hand() -> None:
    """100,000 tokens that Claude holds: reading them is $0.03; entering them at GPT is $0.1125 on top of $0.0125."""
    costs = PrefixPrices.of([CLAUDE, GPT, None]).costs(100_000, [(0, 100_000)])
    np.testing.assert_allclose(costs.read, [0.03, 0.0125, 0.0])
    np.testing.assert_allclose(costs.enter, [0.0, 0.1125, 0.0])
    np.testing.assert_allclose(costs.per_request(10), [0.03, 0.0125 + 0.01125, 0.0])


def test_a_model_that_does_not_cache_is_left_for_nothing() -> None:
    costs = PrefixPrices.of([CLAUDE, GPT]).costs(100_000, [(0, 0)], np.array([True, False]))
    np.testing.assert_allclose((costs.read[0], costs.enter[0]), (0.3, 0.0))
    short = PrefixPrices.of([CLAUDE, GPT]).costs(1000, [(0, 1000)])
    np.testing.assert_allclose(short.read, [0.003, 0.00125])
    assert not short.enter.any()


def test_long_prompts_have_their_own_prices() -> None:
    gemini = CachePrices(1.25e-6, 1.25e-6, 0.125e-6, longer=((200_000, 2.5e-6, 2.5e-6, 0.25e-6),))
    found = PrefixPrices.of([GPT, gemini])
    np.testing.assert_allclose(found.costs(200_000, []).read, [0.025, 0.025])
    np.testing.assert_allclose(found.costs(400_000, []).read, [0.05, 0.1])
    np.testing.assert_allclose(found.costs(200_000, []).read, [0.025, 0.025])  # nothing was kept


@given(st.lists(prices, min_size=1, max_size=4), st.integers(0, 100), st.integers(0, 120))
def test_laws(models: list[CachePrices], tokens: int, held: int) -> None:
    """Costs are not negative; whoever holds all enters for nothing; entering and reading is sending it to be kept."""
    found = PrefixPrices.of(models)
    cold, warm = found.costs(tokens, []), found.costs(tokens, [(0, held)])
    assert (cold.read >= 0).all() and (warm.enter >= 0).all() and (warm.enter <= cold.enter).all()
    np.testing.assert_array_equal(cold.read, warm.read)
    if held >= tokens:
        assert warm.enter[0] == 0
    if tokens >= 10:
        np.testing.assert_allclose(cold.read + cold.enter, [tokens * one.entered for one in models])
    else:
        assert not cold.enter.any()


@pytest.mark.parametrize(
    "wrong", [CachePrices(1, 1, 2), CachePrices(1, 1, -1), CachePrices(1, 1, 1, 1, ((9, 1, 1, 2),))]
)
def test_a_cache_that_costs_more_is_an_error(wrong: CachePrices) -> None:
    with pytest.raises(ConfigError, match="a cached token must cost 0 or more"):
        PrefixPrices.of([CLAUDE, wrong])


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
def test_a_switch_happens_when_it_pays(optimizer: str) -> None:
    """The cheaper model is chosen at a long horizon; over one request the price of the switch outweighs its score."""
    router = make_router(optimizer, BT, [0.01, 0.005])
    costs = PrefixPrices.of([CLAUDE, GPT]).costs(100_000, [(0, 100_000)])
    better = Ranking(np.array([0.0, 1.0]), None)
    rng = np.random.default_rng(0)
    chosen = [router.at_costs(router.costs + costs.per_request(h)).decide(better, 0.06, rng).model for h in (1, 100)]
    assert chosen == [0, 1]


def test_other_costs_take_the_place_of_predicted_ones() -> None:
    router = make_router("simple-lp", BT, [1.0, 0.0], predicted=[False, True])
    at = router.at_costs(np.array([3.0, 2.0]))
    decision = at.decide(Ranking(np.array([0.0, -1.0]), None), 2.5, np.random.default_rng(0))
    assert decision.expected_cost == 2.5 and list(router.costs) == [1.0, 0.0]
    only = at.only(1, Ranking(np.array([0.0, -1.0]), None))
    assert (only.model, only.expected_cost, only.expected_score, only.shadow_price) == (1, 2.0, -1.0, 0.0)
