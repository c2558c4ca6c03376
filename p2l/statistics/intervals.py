"""Intervals of coefficients, and the ranks they allow."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import norm

Estimates = Float64[np.ndarray, " models"]
Covariance = Float64[np.ndarray, "models models"]
Samples = Float64[np.ndarray, "resamples models"]


def intervals(
    estimates: Estimates, covariance: Covariance, samples: Samples | None, level: float
) -> tuple[Estimates, Estimates]:
    """Lower and upper ends at ``level``: percentiles of the bootstrap samples, or normal from the covariance."""
    if samples is not None:
        tail = 50 * (1 - level)
        low, high = np.percentile(samples, [tail, 100 - tail], axis=0)
        return low, high
    half = norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(np.diag(covariance), 0))
    return estimates - half, estimates + half


def rank_ranges(
    estimates: Estimates, covariance: Covariance, samples: Samples | None, level: float
) -> tuple[Int64[np.ndarray, " models"], Int64[np.ndarray, " models"]]:
    """The best and the worst rank of each model: 1 + how many are surely better, and how many are not surely worse.

    Surely: the interval of the difference of the two coefficients at ``level`` leaves out 0, so that what two models
    share (the same opponents, say) does not blur their order. No correction for the number of pairs.
    """
    better = np.stack([_surely_above(i, estimates, covariance, samples, level) for i in range(len(estimates))])
    return 1 + better.sum(axis=1), len(estimates) - better.sum(axis=0)


def _surely_above(
    model: int, estimates: Estimates, covariance: Covariance, samples: Samples | None, level: float
) -> np.ndarray:
    """Which models are surely better than this one."""
    if samples is not None:
        return np.percentile(samples - samples[:, [model]], 50 * (1 - level), axis=0) > 0
    variance = np.diag(covariance) + covariance[model, model] - 2 * covariance[model]
    difference = estimates - estimates[model]
    return difference > norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(variance, 0))
