"""Counting votes by hand."""

import numpy as np
import pandas as pd
import torch

from p2l.data.battle_table import BattleTable
from p2l.leaderboard.vote_counts import gather, shares_of
from p2l.outcomes import BT, BT_TIE, GRK
from tests.leaderboard.voting import frame

VOTES = frame(
    [("ant", "bee", "model_a"), ("bee", "ant", "model_a"), ("ant", "bee", "tie"), ("ant", "bee", "tie (bothbad)")]
).assign(weight=[1.0, 2.0, 3.0, 4.0])


def test_counts_by_hand() -> None:
    rows = gather(BattleTable.from_frame(VOTES))
    assert rows.model_a.tolist() == [0] and rows.model_b.tolist() == [1]
    assert rows.weight.tolist() == [[1, 2, 3, 4]] and rows.squares().tolist() == [[1, 4, 9, 16]]
    assert shares_of(rows.weight, GRK).tolist() == [[1, 2, 3, 4]]
    assert shares_of(rows.weight, BT).tolist() == [[1, 2]]
    assert shares_of(rows.weight, BT_TIE).tolist() == [[4.5, 5.5]]


def test_some_votes_of_a_table_several_times() -> None:
    rows = gather(BattleTable.from_frame(VOTES))
    assert rows.weight_of(np.array([0, 1, 1])).tolist() == [[1, 4, 0, 0]]
    soft = gather(BattleTable.from_frame(VOTES.assign(p_model_a=0.5, p_model_b=0.25, p_tie=0.125, p_both_bad=0.125)))
    assert soft.weight_of(np.array([3, 3])).tolist() == [[0] * 4] * 3 + [[4, 2, 1, 1]]


def test_soft_votes_are_kept_apart_with_their_shares() -> None:
    soft = VOTES.head(1).assign(p_model_a=0.5, p_model_b=0.25, p_tie=0.125, p_both_bad=0.125)
    rows = gather(BattleTable.from_frame(soft))
    assert rows.outcome is None and rows.weight.tolist() == [[0.5, 0.25, 0.125, 0.125]]


def test_hard_votes_with_covariates_are_kept_apart() -> None:
    rows = gather(BattleTable.from_frame(VOTES), {"length": np.arange(4)})
    assert rows.model_a.tolist() == [0, 1, 0, 0] and rows.covariates.tolist() == [[0], [1], [2], [3]]


def test_pairs_that_met_without_weight_stay_rows() -> None:
    table = BattleTable.from_frame(pd.concat([VOTES, frame([("cat", "ant", "tie")]).assign(weight=0.0)]))
    rows = gather(table)
    assert list(zip(rows.model_a.tolist(), rows.model_b.tolist())) == [(0, 1), (0, 2)]
    assert rows.weight[1].tolist() == [0, 0, 0, 0]


def test_derivatives_of_every_parameter() -> None:
    """Against automatic differentiation of the whole objective, with covariates and eta."""
    generator = torch.Generator().manual_seed(1)
    rows = gather(BattleTable.from_frame(VOTES), {"length": np.arange(4.0), "bold": np.array([1.0, 0, -1, 0.5])})
    likelihood, shares = rows.likelihood(GRK), shares_of(rows.weight, GRK)[None]
    at = torch.randn(1, likelihood.num_parameters, dtype=torch.float64, generator=generator)
    ours = likelihood.derivatives(at, shares)
    gradient, value = torch.func.grad_and_value(lambda p: likelihood.value(p[None], shares)[0])(at[0])
    hessian = torch.autograd.functional.hessian(lambda p: likelihood.value(p[None], shares)[0], at[0])
    torch.testing.assert_close(ours.value[0], value)
    torch.testing.assert_close(ours.gradient[0], gradient)
    torch.testing.assert_close(ours.hessian[0], hessian)
