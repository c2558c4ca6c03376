"""Simple metrics by hand, and laws that hold for all families."""

import math

import pytest
import torch

from p2l.errors import ConfigError
from p2l.evaluation import SIMPLE_METRICS, ScoredVotes, UndefinedError, measure
from p2l.evaluation.simple_metrics import VOTE_METRICS
from p2l.outcomes import BT, BT_TIE, FAMILIES, GRK, RK, RK_REPARAM
from p2l.types import Ranking

ALL_KINDS = [("ant", "bee", winner) for winner in ("model_a", "model_b", "tie", "tie (bothbad)")]
LOG3 = math.log(3)


def test_grounded_rao_kupper_by_hand(make_votes) -> None:
    # theta = 2, a = b = 1: 1/4, 1/4, 1/6, and 1/3 for both bad
    found, omitted = measure(
        SIMPLE_METRICS, list(VOTE_METRICS), ScoredVotes(make_votes(ALL_KINDS, [0.0, 0.0], 0.0), GRK)
    )
    assert found == pytest.approx(
        {
            "Loss": math.log(4 * 4 * 6 * 3) / 4,
            "BCELoss": math.log(2),
            "MSELoss": ((3 / 4) ** 2 * 2 + (5 / 6) ** 2 + (2 / 3) ** 2) / 4,
            "Accuracy": 1 / 4,
            "Tie_Loss": math.log(2),  # 1/4 + 1/4 against 1/6 + 1/3
            "Tie_Accuracy": 1 / 2,
            "Tie_bb_Loss": -(math.log(1 / 3) + 3 * math.log(2 / 3)) / 4,
            "Tie_bb_Accuracy": 3 / 4,
        }
    )
    assert omitted == {}


def test_a_tie_is_half_a_win_under_bt_tie_and_nothing_under_bt(make_votes) -> None:
    votes = make_votes([("ant", "bee", "model_a"), ("ant", "bee", "tie")], [LOG3, 0.0])
    tie, bt = (
        {n: SIMPLE_METRICS[n](ScoredVotes(votes, f)) for n in ("Loss", "MSELoss", "Accuracy")} for f in (BT_TIE, BT)
    )
    assert tie == pytest.approx(
        {
            "Loss": (math.log(4 / 3) + (math.log(4 / 3) + math.log(4)) / 2) / 2,
            "MSELoss": (1 / 16 + 1 / 4) / 2,
            "Accuracy": 0.75,
        }
    )
    assert bt == pytest.approx({"Loss": math.log(4 / 3), "MSELoss": 1 / 16, "Accuracy": 1})


def test_coefficients_by_hand(make_votes) -> None:
    votes = make_votes([("ant", "bee", "model_a"), ("cat", "dog", "model_a")], [[0, 1, 2, 3], [0, 0, 0, 8]])
    names = [name for name in SIMPLE_METRICS if name.endswith("-BT")]
    found, _ = measure(SIMPLE_METRICS, names, ScoredVotes(votes, BT))
    every = torch.tensor([0, 1, 2, 3, 0, 0, 0, 8.0])
    assert found == pytest.approx(
        {
            "Mean-BT": 14 / 8,
            "Std-BT": float(every.std()),
            "Spread-BT": 8,
            "Mean-Spread-BT": (3 + 8) / 2,
            "Mean-IQR-BT": (1.5 + 2) / 2,
            "Mean-Std-BT": (math.sqrt(5 / 3) + 4) / 2,
        }
    )


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_metric_has_a_value_or_a_reason(family, drawn_votes) -> None:
    found, omitted = measure(SIMPLE_METRICS, list(SIMPLE_METRICS), ScoredVotes(drawn_votes(family), family))
    assert found.keys() | omitted.keys() == SIMPLE_METRICS.keys()
    assert all(math.isfinite(value) and value != -1 for value in found.values())
    assert ("Tie_Loss" in omitted) == (len(family.outcomes) == 2)
    assert ("Tie_bb_Loss" in omitted) == (len(family.outcomes) < 4)
    assert found["Loss"] > 0 and 0 <= found["Accuracy"] <= 1


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_one_ranking_for_all_is_the_same_as_a_copy_for_each_vote(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    one = Ranking(votes.rankings.coefs[0], None if votes.rankings.eta is None else votes.rankings.eta[0])
    shared = votes.predicted_by(one)
    copied = votes.select(torch.arange(len(votes)).numpy())
    eta = None if one.eta is None else one.eta.expand(len(copied.rankings.coefs))
    copied = type(copied)(
        copied.battles, Ranking(one.coefs.expand(60, -1), eta), copied.ranking_index, copied.prompt_index
    )
    for name, metric in SIMPLE_METRICS.items():
        if name.startswith("Tie") and len(family.outcomes) < 4:
            continue
        assert metric(ScoredVotes(shared, family)) == pytest.approx(metric(ScoredVotes(copied, family)), rel=1e-3), name


def test_merging_ties_leaves_metrics_that_do_not_tell_them_apart(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    for name in ("BCELoss", "Tie_Loss", "Tie_Accuracy"):
        metric = SIMPLE_METRICS[name]
        assert metric(ScoredVotes(votes, RK_REPARAM)) == pytest.approx(metric(ScoredVotes(votes, GRK)))


@pytest.mark.parametrize(
    ("name", "winners", "eta", "family", "reason"),
    [
        ("Tie_Loss", ["model_a", "model_b"], 0.0, RK, "no vote is a tie"),
        ("Tie_Accuracy", ["tie", "tie"], 0.0, RK, "every vote is a tie"),
        ("Tie_bb_Loss", ["tie", "model_a"], 0.0, GRK, "no vote is a tie of bad answers"),
        ("Tie_bb_Loss", ["tie", "model_a"], 0.0, RK, "family rk has no outcome that is a tie of bad answers"),
        ("BCELoss", ["tie", "tie"], 0.0, RK, "no vote is decisive"),
        ("Loss", ["tie", "tie"], None, BT, "no vote carries evidence under bt"),
        ("Loss", ["tie", "tie"], None, RK, "the rankings have no eta"),
    ],
)
def test_what_has_no_value_says_why(make_votes, name, winners, eta, family, reason) -> None:
    votes = make_votes([("ant", "bee", winner) for winner in winners], [0.0, 1.0], eta)
    with pytest.raises(UndefinedError, match=reason):
        SIMPLE_METRICS[name](ScoredVotes(votes, family))
    found, omitted = measure(SIMPLE_METRICS, [name], ScoredVotes(votes, family))
    assert found == {} and reason in omitted[name]


def test_unknown_metrics_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown metric Loose; known here: Loss, "):
        measure(SIMPLE_METRICS, ["Loss", "Loose"], None)
