"""The prior of the most evidence, against integrals done by numbers."""

import numpy as np
import pytest

from p2l.uncertainty.evidence import Axes, Quadratic, _log_evidence, best_prior


def log_integral(variance: float, gradient: float, information: float) -> float:
    """The logarithm of the integral of likelihood times prior of one weight, on a grid; the likelihood is 1 at 0."""
    at = np.linspace(-80, 80, 2_000_001)
    log_prior = -np.log(2 * np.pi * variance) / 2 - at**2 / (2 * variance)
    return float(np.log(np.trapezoid(np.exp(gradient * at - information * at**2 / 2 + log_prior), at)))


@pytest.mark.parametrize("variance", [0.05, 1.0, 7.0])
def test_the_evidence_is_the_integral(variance: float) -> None:
    slope, share = np.array([[1.5, -0.3], [0.0, 2.0]]), np.array([[3.0, 0.5], [0.0, 1.0]])
    expected = sum(log_integral(variance, g, h) for g, h in zip(slope.ravel(), share.ravel(), strict=True))
    assert _log_evidence(variance, slope, share) == pytest.approx(expected, abs=1e-6)


def test_axes_make_prior_and_information_diagonal() -> None:
    rng = np.random.default_rng(0)
    covariance, outputs = (x @ x.T for x in rng.normal(size=(2, 6, 6)))
    axes, curvature = Axes.of(covariance, outputs), 0.7
    np.testing.assert_allclose(axes.directions @ axes.directions.T, covariance, atol=1e-9)
    posterior = axes.directions @ np.diag(1 / (1 + curvature * axes.information)) @ axes.directions.T
    expected = np.linalg.inv(np.linalg.inv(covariance) + curvature * outputs)
    np.testing.assert_allclose(posterior, expected, atol=1e-9)


def draws(covariance: np.ndarray, num_features: int, information: float, seed: int = 0) -> Quadratic:
    """A likelihood of weights that were drawn from the prior and observed with noise."""
    rng = np.random.default_rng(seed)
    outputs = np.eye(len(covariance)) * information
    weights = rng.multivariate_normal(np.zeros(len(covariance)), covariance, num_features).T
    noise = rng.normal(size=weights.shape) / information**0.5
    return Quadratic(outputs @ (weights + noise), np.ones(num_features), outputs)


@pytest.mark.parametrize("size", [0.03, 1.0, 30.0])
def test_the_prior_of_the_draws_is_found_whatever_was_expected(size: float) -> None:
    truth = size * np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.1]])
    found = best_prior(draws(truth, 3_000, 20 / size), np.eye(3), typical=1.0).covariance
    np.testing.assert_allclose(found, truth, atol=0.16 * size)


def test_without_evidence_the_prior_is_what_was_expected() -> None:
    nothing = Quadratic(np.zeros((3, 50)), np.ones(50), np.zeros((3, 3)))
    found = best_prior(nothing, np.eye(3), typical=0.4)
    assert 0.2 < np.trace(found.covariance) / 3 / 0.4 < 5 and found.log_evidence < 0.5
