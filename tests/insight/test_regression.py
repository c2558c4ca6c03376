"""Two versions of an LLM: numbers by hand, laws over the families, verdicts."""

import math

import numpy as np
import pytest

from p2l.errors import ConfigError
from p2l.insight.prompt_groups import Group, category_groups
from p2l.insight.ranked_prompts import RankedPrompts
from p2l.insight.regression import compare_versions
from p2l.outcomes import FAMILIES
from tests.insight.rankings import MODELS, draw, ranked

ODDS_3 = math.log(3)  # nats between two LLMs; one wins three of four


def test_scores_by_hand() -> None:
    table = ranked([[ODDS_3, 0.0], [0.0, 0.0], [0.0, ODDS_3], [ODDS_3, 0.0]])
    test = compare_versions(table, [], old="beta", new="alpha")
    np.testing.assert_allclose(test.scores, [0.75, 0.5, 0.25, 0.75], atol=1e-6)
    row = test.table.iloc[0]
    assert row["score"] == pytest.approx(0.5625) and row["win"] == pytest.approx(0.5625) and row["prompts"] == 4
    # t(3) at 0.975 is 3.182446; the variance of 12, 8, 4, 12 sixteenths is 44/3 / 256
    assert row["score"] - row["low"] == pytest.approx(3.182446 * math.sqrt(44 / 3 / 256 / 4), abs=1e-6)
    assert test.verdict == "no clear difference" and test.losses().tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_there_and_back_add_up_to_one(family) -> None:
    rankings = draw(family, 20)
    table = RankedPrompts(tuple((str(i),) for i in range(20)), rankings, MODELS, family, {})
    there, back = (compare_versions(table, [], old=a, new=b) for a, b in (("alpha", "gamma"), ("gamma", "alpha")))
    np.testing.assert_allclose(there.scores + back.scores, 1, atol=1e-9)
    shares = there.table[[name for name in ("win", "lose", "tie", "both_bad") if name in there.table]]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-9)
    assert (there.verdict, back.verdict) == ("worse", "better")


def test_verdicts_by_group_and_the_worst_group_first() -> None:
    rng = np.random.default_rng(0)
    lead = np.concatenate([np.full(20, ODDS_3), np.full(20, -ODDS_3), np.zeros(20)]) + 0.1 * rng.normal(size=60)
    table = ranked([[x, 0.0] for x in lead], topic=["math"] * 20 + ["law"] * 20 + ["talk"] * 20)
    groups = [*category_groups(table.categories), Group("topic", "one", np.array([0]))]
    test = compare_versions(table, groups, old="beta", new="alpha")
    found = dict(zip(test.table["group"], test.table["verdict"], strict=True))
    assert found == {
        "all prompts": "no clear difference",
        "law": "worse",
        "talk": "no clear difference",
        "math": "better",
        "one": "too few prompts",
    }
    assert test.table["group"].iloc[1] == "law"


def test_a_difference_within_the_margin_is_none() -> None:
    coefs = [[0.02 + 0.001 * (i % 2), 0.0] for i in range(50)]  # a score of 0.505, the same on every prompt
    assert compare_versions(ranked(coefs), [], old="beta", new="alpha", margin=0.0).verdict == "better"
    assert compare_versions(ranked(coefs), [], old="beta", new="alpha").verdict == "no clear difference"


def test_more_groups_make_wider_intervals() -> None:
    table = ranked([[0.1 * i, 0.0] for i in range(10)])
    group = Group("topic", "all", np.arange(10))
    few, many = (compare_versions(table, [group] * n, old="beta", new="alpha").table.iloc[-1] for n in (1, 20))
    assert many["high"] - many["low"] > 1.3 * (few["high"] - few["low"])


def test_bad_questions_are_answered() -> None:
    table = ranked([[1.0, 0.0]])
    with pytest.raises(ConfigError, match="both 'beta'; name two"):
        compare_versions(table, [], old="beta", new="beta")
    with pytest.raises(ConfigError, match=r"margin must lie in \[0, 0.5\); got 0.5"):
        compare_versions(table, [], old="beta", new="alpha", margin=0.5)
    with pytest.raises(ConfigError, match="no LLM 'omega'"):
        compare_versions(table, [], old="omega", new="alpha")
