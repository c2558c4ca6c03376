"""Category metrics by hand, and laws that hold for all families."""

import math

import pytest
import torch

from p2l.evaluation import CATEGORY_METRICS, LeaderboardPair, UndefinedError, measure
from p2l.evaluation.category_metrics import COMPARISONS, MODEL, TRUTH
from p2l.outcomes import BT, FAMILIES, GRK, RK
from p2l.types import Ranking

NAMES = ("ant", "bee", "cat", "dog")


def pair(truth, model, family=BT, eta=None, votes=None) -> LeaderboardPair:
    sides = [
        Ranking(
            torch.tensor(side, dtype=torch.float64), None if eta is None else torch.tensor(eta, dtype=torch.float64)
        )
        for side in (truth, model)
    ]
    return LeaderboardPair.between_rated(NAMES[: len(truth)], *sides, family, votes)


def test_by_hand() -> None:
    found, omitted = measure(CATEGORY_METRICS, [*COMPARISONS, "Leaderboard"], pair([3.0, 2, 1, 0], [3.0, 2, 0, 1]))
    assert omitted == {}
    assert found["Leaderboard"][TRUTH] == ["ant: 3.0", "bee: 2.0", "cat: 1.0", "dog: 0.0"]
    assert found["Leaderboard"][MODEL] == ["ant: 3.0", "bee: 2.0", "dog: 1.0", "cat: 0.0"]
    assert found["Spearman-lbs"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found["Kendall-lbs"] == pytest.approx((5 - 1) / 6)
    assert found["IQR-BT"] == found["IQR-BT"] | {TRUTH: 1.5, MODEL: 1.5}
    assert found["Spread-BT"] == {TRUTH: 3, MODEL: 3}
    assert found["Std-BT"][MODEL] == pytest.approx(math.sqrt(5 / 3))
    assert found["Top-k-fraction"] == {"1": 1, "3": pytest.approx(2 / 3)}  # there are no five models
    assert found["Top-k-displace"] == {"1": 0, "3": pytest.approx(1 / 3)}


def test_l1_distance_by_hand() -> None:
    # win probabilities 3/4 and 1/2; families without a tie also average over each model with itself
    assert COMPARISONS["L1-Dist-Prob"](pair([math.log(3), 0.0], [0.0, 0.0])) == pytest.approx(1 / 8)
    # theta = 2, a = b = 1 against a = 2: 1/4, 1/4, 1/6, 1/3 and 2/5, 1/6, 11/60, 1/4
    found = COMPARISONS["L1-Dist-Prob"](pair([0.0, 0.0], [math.log(2), 0.0], GRK, 0.0))
    assert found == pytest.approx((3 / 20 + 1 / 12 + 1 / 60 + 1 / 12) / 4)


def test_without_eta_on_a_side_bradley_terry_is_compared() -> None:
    truth, model = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])
    mixed = LeaderboardPair.between_rated(NAMES[:2], Ranking(truth, None), Ranking(model, torch.tensor(0.0)), RK, None)
    assert COMPARISONS["L1-Dist-Prob"](mixed) == COMPARISONS["L1-Dist-Prob"](pair([1.0, 0.0], [0.0, 0.0]))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_leaderboard_agrees_with_itself(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    one = Ranking(votes.rankings.coefs[0], None if votes.rankings.eta is None else votes.rankings.eta[0])
    same = LeaderboardPair.between_rated(votes.models, one, one, family, votes)
    found, omitted = measure(CATEGORY_METRICS, list(CATEGORY_METRICS), same)
    assert found["L1-Dist-Prob"] == 0 and found["Kendall-lbs"] == pytest.approx(1)
    assert found["Spearman-lbs"] == pytest.approx(1) and set(found["Top-k-fraction"].values()) == {1.0}
    for value in found.values():
        if isinstance(value, dict) and TRUTH in value:
            assert value[TRUTH] == value[MODEL]
    assert all(name.startswith("Aggr_Tie") for name in omitted)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_models_without_a_rating_are_left_out_with_their_votes(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    one = Ranking(votes.rankings.coefs[0], None if votes.rankings.eta is None else votes.rankings.eta[0])
    holes = one._replace(coefs=one.coefs.clone())
    holes.coefs[2] = torch.nan
    found = LeaderboardPair.between_rated(votes.models, holes, one, family, votes)
    assert found.models == ("ant", "bee", "dog", "eel")
    assert (
        found.votes is not None and not ((found.votes.battles.model_a == 2) | (found.votes.battles.model_b == 2)).any()
    )
    values, _ = measure(CATEGORY_METRICS, ["Aggr_Loss", "L1-Dist-Prob", "Std-BT"], found)
    assert values["Aggr_Loss"][TRUTH] == values["Aggr_Loss"][MODEL] and values["L1-Dist-Prob"] == 0


def test_what_has_no_value_says_why() -> None:
    with pytest.raises(UndefinedError, match="all coefficients of model-aggr are equal"):
        COMPARISONS["Spearman-lbs"](pair([3.0, 2, 1, 0], [1.0, 1, 1, 1]))
    with pytest.raises(UndefinedError, match="1 models are on both leaderboards"):
        pair([1.0, math.nan, math.nan], [1.0, 2, 3])
    with pytest.raises(UndefinedError, match="no vote is between two models"):
        CATEGORY_METRICS["Aggr_Loss"](pair([1.0, 0], [1.0, 0]))
