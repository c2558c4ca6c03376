from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.sparse import csr_matrix, diags_array

from p2l.errors import DataError
from p2l.new_models.row_likelihood import RowLikelihood
from p2l.outcomes import BT, FAMILIES, OutcomeFamily

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
PARAMETERS = 4


def make_evidence(family: OutcomeFamily, votes: int = 30) -> RowLikelihood:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, votes, PARAMETERS)) * (rng.random((2, votes, 1)) < 0.6)
    return RowLikelihood(
        family=family,
        design_a=csr_matrix(a),
        design_b=csr_matrix(b),
        offset_a=rng.normal(size=votes),
        offset_b=rng.normal(size=votes),
        eta=rng.normal(size=votes) + (22.5 if family.name == "rk" else 0) if family.num_eta else None,
        shares=rng.dirichlet(np.ones(len(family.outcomes)), size=votes),
        prompt_index=rng.integers(8, size=votes),
    )


@families
def test_the_fit_is_a_stationary_point_and_the_hessian_its_curvature(family):
    evidence, penalty = make_evidence(family), np.array([0.5, 1.0, 2.0, 0.1])

    def value(x: np.ndarray) -> float:
        return evidence.log_loss(x) * evidence.shares.sum() + penalty @ x**2 / 2

    def gradient(x: np.ndarray) -> np.ndarray:
        return approx_fprime(x, value, 1e-6)

    found = evidence.fit(penalty, np.zeros(PARAMETERS))
    assert np.abs(gradient(found)).max() < 1e-3
    assert value(found) <= min(value(found + step) for step in 0.01 * np.random.default_rng(1).normal(size=(20, 4)))
    numeric = np.stack([(gradient(found + e) - gradient(found - e)) / 2e-3 for e in 1e-3 * np.eye(PARAMETERS)])
    np.testing.assert_allclose(evidence.hessian(found, penalty), numeric, atol=2e-2)


def by_hand(wins: int, losses: int, prompts: np.ndarray) -> RowLikelihood:
    """Make votes of one model, whose coefficient is the parameter, against a known one of coefficient 0.5."""
    votes = wins + losses
    shares = np.repeat(np.eye(2), [wins, losses], axis=0)
    design, none = csr_matrix(np.ones((votes, 1))), csr_matrix((votes, 1))
    return RowLikelihood(BT, design, none, np.zeros(votes), np.full(votes, 0.5), None, shares, prompts)


def test_a_fit_by_hand():
    """Won 30 of 40: log 3 nats above; the variance of a log odds is 1 / wins + 1 / losses."""
    evidence, penalty = by_hand(30, 10, np.arange(40)), np.array([1e-12])
    found = evidence.fit(penalty, np.zeros(1))
    np.testing.assert_allclose(found, np.log(3) + 0.5, rtol=1e-6)
    np.testing.assert_allclose(evidence.covariance(found, penalty), [[1 / 30 + 1 / 10]], rtol=1e-5)


def test_votes_of_one_prompt_are_one_piece_of_evidence():
    """Each vote three times over, on the same prompt: the estimate and its variance stay as they are."""
    once, penalty = by_hand(30, 10, np.arange(40)), np.array([1e-12])
    thrice = once.select(np.repeat(np.arange(40), 3))
    found = once.fit(penalty, np.zeros(1))
    np.testing.assert_allclose(thrice.fit(penalty, np.zeros(1)), found, rtol=1e-6)
    np.testing.assert_allclose(thrice.covariance(found, penalty), once.covariance(found, penalty), rtol=1e-6)


def test_without_evidence_the_prior_stands():
    evidence, penalty = by_hand(1, 1, np.arange(2)), np.array([1e9])
    found = evidence.fit(penalty, np.array([1.0]))
    np.testing.assert_allclose(found, 0, atol=1e-6)
    np.testing.assert_allclose(evidence.covariance(found, penalty), 1e-9, rtol=1e-3)


def test_a_fit_that_does_not_converge_is_an_error():
    """Units that lie 30 orders of magnitude apart leave no step that improves."""
    evidence = make_evidence(BT)
    broken = replace(evidence, design_a=evidence.design_a @ diags_array([1.0, 1e13, 1e30, 1e30]))
    with pytest.raises(DataError, match=r"do not converge: the gradient is .* a vote .*larger penalties"):
        broken.fit(np.ones(PARAMETERS), np.zeros(PARAMETERS))
