"""Held-out log loss: by hand, and the family that made the votes wins."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.commands.leaderboard import _mean_of_folds
from p2l.data.battle_table import BattleTable
from p2l.leaderboard.cross_validation import cross_validate, held_out_losses
from p2l.outcomes import BT, BT_TIE, GRK, RK
from p2l.types import Ranking
from tests.leaderboard.voting import draw_votes, frame, make_truth


def test_losses_by_hand() -> None:
    votes = BattleTable.from_frame(
        frame(
            [
                ("ant", "bee", "model_a"),
                ("bee", "ant", "model_a"),
                ("ant", "bee", "tie"),
                ("bee", "ant", "tie (bothbad)"),
            ]
        )
    )
    equal = torch.zeros(2, dtype=torch.float64)
    half = math.log(2)
    losses = held_out_losses(BT, Ranking(equal, None), votes)
    assert losses["own"] == pytest.approx(half) and losses["decisive"] == pytest.approx(half)
    assert math.isnan(losses["with_ties"])
    assert held_out_losses(BT_TIE, Ranking(equal, None), votes)["own"] == pytest.approx(half)
    # a = b = 1, theta = 1 + e^0 = 2: each wins 1/4, both bad 1/3, and 1/6 is left for a tie
    losses = held_out_losses(GRK, Ranking(equal, torch.zeros(1, dtype=torch.float64)), votes)
    assert losses["own"] == pytest.approx((2 * math.log(4) + math.log(6) + math.log(3)) / 4)
    assert losses["decisive"] == pytest.approx(half)
    assert losses["with_ties"] == pytest.approx((2 * math.log(4) + 2 * half) / 4)


def test_the_family_of_the_votes_predicts_them_best() -> None:
    votes = draw_votes(GRK, make_truth(GRK, 5), 4000, np.random.default_rng(0))
    scores = cross_validate(votes, [BT, BT_TIE, RK, GRK], folds=4)
    assert len(scores) == 16 and scores.groupby("family").size().eq(4).all()
    mean = scores.groupby("family")[["own", "decisive", "with_ties"]].mean()
    assert mean.loc["grk", "with_ties"] < mean.loc["rk", "with_ties"]
    assert mean["with_ties"].isna().to_dict() == {"bt": True, "bt-tie": True, "grk": False, "rk": False}


def test_folds_are_seeded_and_share_nothing() -> None:
    votes = draw_votes(BT, make_truth(BT, 3), 90, np.random.default_rng(0))
    one, two = (cross_validate(votes, [BT], folds=3, seed=0) for _ in range(2))
    assert one.equals(two)
    assert not one.equals(cross_validate(votes, [BT], folds=3, seed=1))


def test_folds_without_evidence_are_empty_and_the_others_count() -> None:
    """One win among ties: it is in one of three folds, which has no evidence to train on."""
    rows = [("ant", "bee", "tie")] * 8 + [("ant", "bee", "model_a")]
    scores = cross_validate(BattleTable.from_frame(frame(rows)), [BT, BT_TIE], folds=3)
    of_bt, of_tie = (scores[scores["family"] == name] for name in ("bt", "bt-tie"))
    assert of_bt["own"].isna().all() and of_bt["decisive"].isna().all()
    assert of_tie["own"].notna().all() and of_tie["decisive"].notna().sum() == 1
    more = cross_validate(BattleTable.from_frame(frame([*rows, ("bee", "ant", "model_a")])), [BT], folds=5)
    assert more["own"].notna().sum() in (1, 2)
    assert _mean_of_folds(pd.Series([np.nan, 0.5, 0.7])) == "0.6000 (0.1000), 2 folds"
    assert _mean_of_folds(pd.Series([np.nan, 0.5])) == "0.5000, 1 folds"
    assert _mean_of_folds(pd.Series([np.nan, np.nan])) == ""
    assert _mean_of_folds(pd.Series([0.5, 0.7])) == "0.6000 (0.1000)"
