"""Every family gives the same numbers on arrays of numpy as on tensors of torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from p2l.outcomes import FAMILIES, OutcomeFamily, merge_ties
from p2l.types import Ranking

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def grid(coef: float, eta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients and eta up to these sizes, which broadcast; zero and small numbers among them."""
    coefs = np.concatenate((np.linspace(-coef, coef, 17), [-1e-9, 1e-3, 0.7]))
    etas = np.concatenate((np.linspace(-eta, eta, 11), [1e-3]))
    return coefs[:, None, None], coefs[None, :, None], etas


def in_torch(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(x) for x in arrays]


@families
@pytest.mark.parametrize(("coef", "eta"), [(3.0, 2.0), (60.0, 30.0), (700.0, 200.0), (1e4, 1e4), (1e12, 1e12)])
def test_log_probabilities_are_those_of_torch(family: OutcomeFamily, coef: float, eta: float) -> None:
    arrays = grid(coef, eta)
    found, expected = family.log_probs(*arrays), family.log_probs(*in_torch(*arrays)).numpy()
    assert found.dtype == expected.dtype == np.float64 and found.shape == expected.shape
    # torch's softplus leaves out 2e-8 from eta = 222.5 on
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 if eta <= 200 else 1e-7)


@families
def test_float32_is_computed_and_returned_as_in_torch(family: OutcomeFamily) -> None:
    arrays = [x.astype(np.float32) for x in grid(60.0, 30.0)]
    found, expected = family.log_probs(*arrays), family.log_probs(*in_torch(*arrays)).numpy()
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=1e-15)


@families
@pytest.mark.parametrize("has_form", [True, False], ids=["own form", "from the logarithms"])
def test_probabilities_from_odds_are_those_of_torch(family: OutcomeFamily, has_form: bool) -> None:
    family = family if has_form else replace(family, formula_from_odds=None)
    a, b, eta = grid(100.0, 100.0)
    arrays = (np.exp(a), np.exp(b), eta)
    found, expected = family.probs_from_odds(*arrays), family.probs_from_odds(*in_torch(*arrays))
    assert len(found) == len(expected) == len(family.outcomes)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=0)


@families
def test_single_numbers_and_batches_of_prompts(family: OutcomeFamily) -> None:
    rng = np.random.default_rng(0)
    coefs, eta = rng.normal(size=(3, 5)), rng.normal(size=3)
    pairs = (coefs[..., :, None], coefs[..., None, :], eta[..., None, None])
    found = family.log_probs(*pairs)
    np.testing.assert_allclose(found, family.log_probs(*in_torch(*pairs)).numpy(), rtol=1e-12)
    for one in (coefs[1, 2], np.array(coefs[1, 2])):
        np.testing.assert_allclose(family.log_probs(one, coefs[1, 4], eta[1]), found[1, 2, 4], rtol=1e-12)


def test_ties_of_a_family_of_ones_own_are_merged_alike() -> None:
    merged = merge_ties(replace(FAMILIES["ba"], formula_from_odds=None), "ba-reparam")
    arrays = grid(700.0, 200.0)
    found = merged.log_probs(*arrays)
    np.testing.assert_allclose(found, merged.log_probs(*in_torch(*arrays)).numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-9)


@families
def test_eta_is_asked_for(family: OutcomeFamily) -> None:
    zero = np.zeros(2)
    if family.num_eta:
        with pytest.raises(ValueError, match="needs eta"):
            family.log_probs(zero, zero)
    else:
        np.testing.assert_allclose(family.log_probs(zero, zero), np.log(0.5))


def test_a_ranking_of_numpy() -> None:
    ranking = Ranking(torch.tensor([[1.0, np.inf], [0.5, 2.0]], requires_grad=True), torch.tensor([0.0, 1.0]))
    found = ranking.numpy()
    assert found.coefs.dtype == found.eta.dtype == np.float64
    assert found.is_finite().tolist() == ranking.is_finite().tolist() == [False, True]
    assert Ranking(np.array([0.0, np.nan]), None).is_finite() == np.False_
