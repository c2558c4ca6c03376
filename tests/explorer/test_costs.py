"""Decisions at a budget, compared to mixtures computed by hand."""

import math
import re

import numpy as np
import pytest
import torch

from p2l.errors import ConfigError
from p2l.explorer.costs import Costs, costs_view, dollars
from p2l.explorer.prices import PER, Prices
from p2l.outcomes import BT, FAMILIES, OutcomeFamily
from p2l.types import Ranking

NAMES = ("ant", "bee", "cat", "dog")


def costs(odds: list[float], cost: list[float]) -> Costs:
    return Costs.of(BT, Ranking(torch.tensor([math.log(x) for x in odds]), None), np.array(cost, dtype=np.float64))


def test_the_cost_of_a_prompt() -> None:
    prices = Prices({"ant": [1, 2], "bee": [0.5, 10]}, output_tokens=100)
    # 400 characters are 100 tokens
    cost = prices.costs(NAMES, ["x" * 300, "y" * 100])
    assert cost[:2] == pytest.approx([PER * 300e-6, PER * 1050e-6]) and np.isnan(cost[2:]).all()


BAD = {
    "one price": {"ant": [1]},
    "a number": {"ant": 1},
    "below 0": {"ant": [1, -1]},
    "infinite": {"ant": [1, math.inf]},
    "not a number": {"ant": [math.nan, 1]},
    "text": {"ant": "12"},
    "nothing": {"ant": None},
}


@pytest.mark.parametrize("prices", BAD.values(), ids=BAD)
def test_bad_prices(prices) -> None:
    with pytest.raises(ConfigError, match="prices: dollars per million tokens are needed"):
        Prices(prices)


def test_other_bad_numbers() -> None:
    with pytest.raises(ConfigError, match="none of the checkpoint's LLMs"):
        Prices({"elk": [1, 1]}).costs(NAMES, "hi")
    with pytest.raises(ConfigError, match="output_tokens"):
        Prices({"ant": [1, 1]}, output_tokens=-1)


def test_the_axis_is_logarithmic_and_its_ends_are_the_lowest_and_the_highest_cost() -> None:
    axis = costs([1, 2, 3, 4], [0.1, 1, 10, math.nan])
    assert [axis.budget(share) for share in (0, 0.5, 1, -3, 7)] == pytest.approx([0.1, 1, 10, 0.1, 10])
    assert [axis.place(cost) for cost in (0.1, 1, 10)] == pytest.approx([0, 0.5, 1])
    assert 0.1 in axis.ticks() and all(0.1 <= tick <= 10 for tick in axis.ticks()) and len(axis.ticks()) <= 5
    free = costs([1, 2, 3, 4], [0, 1, 10, 5])
    assert free.budget(0.25) == 2.5 and free.place(5) == 0.5 and 2 <= len(free.ticks()) <= 5
    same = costs([1, 2, 3, 4], [2, 2, 2, 2])
    assert same.budget(0.3) == 2 and same.place(2) == 0.5 and same.ticks() == [2]


@pytest.mark.parametrize("share", np.linspace(0, 1, 23))
def test_every_budget_on_the_axis_can_be_kept(share: float) -> None:
    axis = costs([1, 2, 3, 4], [0.07, 0.3, 1.9, 7.7])
    decision = axis.decide(axis.budget(share))
    assert decision.expected_cost <= axis.budget(share) + 1e-12


def test_a_mixture_in_words() -> None:
    # W q of ant is (1/2 + 1/4) / 2, of bee (1/2 + 3/4) / 2
    two = Costs.of(BT, Ranking(torch.tensor([0.0, math.log(3)]), None), np.array([0.0, 2.0]))
    markup = costs_view(("ant", "bee"), two, 0.2)
    assert "budget of $0.40" in markup and "80% ant and 20% bee" in markup
    assert "win rate 42.5% for $0.40" in markup  # 0.8 x 0.375 + 0.2 x 0.625
    assert "a dollar buys 12.5 points" in markup  # (62.5 - 37.5) / 2
    assert re.findall(r'<td class="name">(.*?)</td>', markup) == ["ant", "bee"]


def test_a_better_and_cheaper_llm_leaves_nothing_to_mix() -> None:
    markup = costs_view(NAMES, costs([1, 2, 9, 4], [3, 2, 1, math.nan]), 0.8)
    assert "the router takes <b>cat</b>" in markup and "a dollar buys" not in markup
    assert markup.count('class="vertex"') == 1 and markup.count('<b style="left') == 2
    assert "Omitted, without a price: 1 of 4 LLMs" in markup and "dog" not in markup


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_picture_for_every_family_stays_in_its_frame(family: OutcomeFamily) -> None:
    ranking = Ranking(torch.tensor([-1.0, 0.3, 2.0, 5.0]), torch.tensor(0.2) if family.num_eta else None)
    markup = costs_view(NAMES, Costs.of(family, ranking, np.array([0.1, 0.5, 2.0, 30.0])), 0.6)
    places = [float(x) for x in re.findall(r"(?:left|top):(-?[\d.]+)%", markup)]
    places += [float(x) for pair in re.search(r'points="(.*?)"', markup)[1].split() for x in pair.split(",")]
    assert min(places) >= 0 and max(places) <= 100 and "nan" not in markup


def test_one_llm() -> None:
    one = Costs.of(BT, Ranking(torch.tensor([0.0]), None), np.array([1.0]))
    assert "the router takes <b>ant</b>: win rate 50.0% for $1.00" in costs_view(("ant",), one, 0.5)


def test_names_are_text() -> None:
    names = ("<script>a</script>", "$x^$", '"><img>', "dog")
    markup = costs_view(names, costs([1, 2, 3, 4], [1, 2, 3, 4]), 0.3)
    assert "<script" not in markup and "<img" not in markup


@pytest.mark.parametrize(
    ("cost", "text"), [(0, "$0.00"), (0.00123, "$0.0012"), (0.1, "$0.10"), (2.345, "$2.35"), (1234, "$1,234")]
)
def test_dollars(cost: float, text: str) -> None:
    assert dollars(cost) == text
