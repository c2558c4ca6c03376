"""Laws that every likelihood family obeys, stated once over the list of families."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from p2l.errors import ConfigError
from p2l.outcomes import BA, BT, BT_TIE, FAMILIES, GRK, RK, RK_REPARAM, OutcomeFamily, get_family

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def grid(dtype: torch.dtype, coef: float = 60.0, eta: float = 30.0) -> tuple[Tensor, Tensor, Tensor]:
    coefs = torch.linspace(-coef, coef, 25, dtype=dtype)
    etas = torch.linspace(-eta, eta, 13, dtype=dtype)
    a, b, e = torch.meshgrid(coefs, coefs, etas, indexing="ij")
    return a.clone(), b.clone(), e.clone()


def naive(family: OutcomeFamily, a: Tensor, b: Tensor, eta: Tensor) -> Tensor:
    """The published definitions in float64, with the tie as the rest."""
    if family in (BT, BT_TIE):
        p = torch.sigmoid(a - b)
        return torch.stack((p, 1 - p), -1)
    if family is RK:
        m = (10 * torch.log1p(torch.exp(0.1 * (eta - 22.5)))).clamp(min=0.02)
        win, lose = torch.sigmoid(a - b - m), torch.sigmoid(b - a - m)
        return torch.stack((win, lose, 1 - win - lose), -1)
    theta = torch.exp(eta) + (1.02 if family is BA else 1.0)
    a, b = a.exp(), b.exp()
    win, lose, bad = a / (a + theta * b + 1), b / (b + theta * a + 1), 1 / (1 + a + b)
    if family is RK_REPARAM:
        return torch.stack((win, lose, 1 - win - lose), -1)
    return torch.stack((win, lose, 1 - win - lose - bad, bad), -1)


@families
def test_probabilities_sum_to_one_in_float32(family: OutcomeFamily) -> None:
    total = family.log_probs(*grid(torch.float32)).exp().sum(-1)
    assert (total - 1).abs().max() <= 1e-6


@families
def test_probabilities_from_odds_are_the_same(family: OutcomeFamily) -> None:
    a, b, eta = grid(torch.float64, coef=40.0, eta=40.0)
    exact = family.log_probs(a, b, eta).exp()
    torch.testing.assert_close(torch.stack(family.probs_from_odds(a.exp(), b.exp(), eta), -1), exact)
    a, b, eta = (x.float() for x in (a, b, eta))
    torch.testing.assert_close(
        torch.stack(family.probs_from_odds(a.exp(), b.exp(), eta), -1), exact.float(), atol=1e-5, rtol=0
    )


@families
def test_odds_of_all_pairs_broadcast(family: OutcomeFamily) -> None:
    coefs, eta = torch.linspace(-2, 2, 5, dtype=torch.float64), torch.tensor([0.3, 1.0], dtype=torch.float64)
    a, b, eta = coefs[:, None, None], coefs[None, :, None], eta[None, None, :]
    probs = family.probs_from_odds(a.exp(), b.exp(), eta)
    exact = family.log_probs(a, b, eta).exp()
    for outcome, column in enumerate(probs):
        torch.testing.assert_close(column.expand(exact.shape[:-1]), exact[..., outcome])


@families
def test_gradients_are_finite_in_float32(family: OutcomeFamily) -> None:
    inputs = [x.requires_grad_() for x in grid(torch.float32)]
    log_probs = family.log_probs(*inputs)
    assert log_probs.isfinite().all()
    for column in log_probs.unbind(-1):
        grads = torch.autograd.grad(column.sum(), inputs, retain_graph=True, allow_unused=True)
        assert all(g.isfinite().all() for g in grads if g is not None)


@families
def test_swapping_the_models_swaps_the_wins(family: OutcomeFamily) -> None:
    a, b, eta = grid(torch.float64)
    there, back = family.log_probs(a, b, eta), family.log_probs(b, a, eta)
    swapped = torch.cat((back[..., 1:2], back[..., 0:1], back[..., 2:]), -1)
    torch.testing.assert_close(there, swapped)


@families
def test_equals_the_naive_definition_in_float64(family: OutcomeFamily) -> None:
    a, b, eta = grid(torch.float64, coef=6.0, eta=4.0)
    torch.testing.assert_close(family.log_probs(a, b, eta).exp(), naive(family, a, b, eta), rtol=1e-9, atol=1e-12)


@families
def test_float32_agrees_with_float64(family: OutcomeFamily) -> None:
    a, b, eta = grid(torch.float32)
    exact = family.log_probs(a.double(), b.double(), eta.double())
    torch.testing.assert_close(family.log_probs(a, b, eta).double(), exact, rtol=2e-6, atol=2e-5)


@families
def test_a_far_stronger_model_wins(family: OutcomeFamily) -> None:
    a, b, eta = torch.tensor(40.0), torch.tensor(-40.0), torch.tensor(-2.0)
    assert family.log_probs(a, b, eta)[0].exp() > 1 - 1e-6


@families
def test_shift_invariance_is_as_declared(family: OutcomeFamily) -> None:
    a, b, eta = torch.tensor(0.7), torch.tensor(-0.2), torch.tensor(0.4)
    same = torch.allclose(family.log_probs(a, b, eta), family.log_probs(a + 3, b + 3, eta), atol=1e-6)
    assert same == family.shift_invariant


@families
def test_half_precision_is_computed_in_float32(family: OutcomeFamily) -> None:
    a, b, eta = (torch.tensor([x], dtype=torch.bfloat16) for x in (1.0, 0.5, 0.25))
    torch.testing.assert_close(family.log_probs(a, b, eta), family.log_probs(a.float(), b.float(), eta.float()))


@families
def test_targets_are_shares_of_the_columns(family: OutcomeFamily) -> None:
    targets = torch.tensor(family.targets)
    assert targets.shape == (4, len(family.outcomes))
    assert set(targets.sum(-1).tolist()) <= {0.0, 1.0}
    assert targets[0, 0] == 1 and targets[1, 1] == 1


def test_numbers_checkable_by_hand() -> None:
    zero = torch.zeros(())
    assert BT.log_probs(zero, zero).tolist() == pytest.approx([math.log(0.5)] * 2)
    # theta = 2, a = b = 1: 1/4, 1/4, 1 - 1/4 - 1/4 - 1/3 = 1/6, 1/3
    assert GRK.log_probs(zero, zero, zero).exp().tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 3])
    assert RK_REPARAM.log_probs(zero, zero, zero).exp().tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    margin = 10 * math.log1p(math.exp(-2.25))
    assert RK.log_probs(zero, zero, zero)[0].exp().item() == pytest.approx(1 / (1 + math.exp(margin)))


def test_aliases_name_the_same_family() -> None:
    assert get_family("bag") is GRK
    assert get_family("bt_tie") is BT_TIE
    with pytest.raises(ConfigError, match="unknown likelihood family 'grok'.*grk"):
        get_family("grok")


def test_a_family_with_eta_refuses_to_go_without() -> None:
    with pytest.raises(ValueError, match="needs eta"):
        GRK.log_probs(torch.zeros(2), torch.zeros(2))


@families
def test_without_a_form_in_odds_the_probabilities_are_those_of_the_formula(family: OutcomeFamily) -> None:
    a, b, eta = grid(torch.float64, coef=20.0, eta=20.0)
    slow = replace(family, formula_from_odds=None).probs_from_odds(a.exp(), b.exp(), eta)
    torch.testing.assert_close(torch.stack(slow, -1), torch.stack(family.probs_from_odds(a.exp(), b.exp(), eta), -1))
