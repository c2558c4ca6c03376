import math

import pytest
import torch

from p2l.errors import ConfigError
from p2l.losses import NegativeLogLikelihood
from p2l.outcomes import BT_TIE, GRK, RK, RK_REPARAM


def test_number_checkable_by_hand() -> None:
    log_probs = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]).log()
    targets, weight = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]), torch.tensor([3.0, 1.0])
    loss = NegativeLogLikelihood(reweight_scale=2.0)(log_probs, targets, weight)
    assert loss.tolist() == pytest.approx([6 * math.log(4), 2 * (math.log(2) + math.log(4)) / 2])


def test_a_tie_costs_bt_the_mean_of_a_win_and_a_loss() -> None:
    log_probs = BT_TIE.log_probs(torch.tensor([1.3]), torch.tensor([0.2]))
    loss = [NegativeLogLikelihood()(log_probs, BT_TIE.target_matrix(log_probs)[[k]], torch.ones(1)) for k in range(3)]
    torch.testing.assert_close(loss[2], (loss[0] + loss[1]) / 2)


def test_merged_ties_make_the_grounded_objective_that_of_rk_reparam() -> None:
    family = NegativeLogLikelihood(view="merge_ties").view_of(GRK)
    a, b, eta = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).unbind()
    torch.testing.assert_close(family.log_probs(a, b, eta), RK_REPARAM.log_probs(a, b, eta))
    assert family.targets == RK_REPARAM.targets
    assert NegativeLogLikelihood().view_of(RK) is RK


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="merge_ties joins.*'rk'"):
        NegativeLogLikelihood(view="merge_ties").view_of(RK)
    with pytest.raises(ConfigError, match="reweight_scale must be a finite number above 0; got 0"):
        NegativeLogLikelihood(reweight_scale=0.0)
