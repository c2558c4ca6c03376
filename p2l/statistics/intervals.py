"""Intervals of estimates: normal, Student's t, percentile, Wilson; and the ranks that they allow."""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats, which calls these, takes three times as long to load

Estimates = Float64[np.ndarray, "*batch models"]
Covariance = Float64[np.ndarray, "*batch models models"]
Samples = Float64[np.ndarray, "resamples models"]


def normal_quantile(level: float) -> float:
    """Return half the width, in standard errors, of a two-sided normal interval at ``level``."""
    return float(ndtri((1 + level) / 2))


def student_quantile(level: float, num_samples: int) -> float:
    """Return half the width, in standard errors, of Student's t interval of a mean of ``num_samples``."""
    return float(stdtrit(num_samples - 1, (1 + level) / 2))


def student_p_value(statistic: Float64[np.ndarray, " tests"], num_samples: int) -> Float64[np.ndarray, " tests"]:
    """Return the two-sided p-value of |mean| / standard error, for means of ``num_samples``."""
    return 2 * stdtr(num_samples - 1, -statistic)


def percentiles(samples: Float64[np.ndarray, "resamples *columns"], level: float) -> Float64[np.ndarray, "2 *columns"]:
    """Return the two ends of the middle ``level`` of the samples, by column."""
    tail = 50 * (1 - level)
    return np.percentile(samples, [tail, 100 - tail], axis=0)


def mean_interval(values: Float64[np.ndarray, " samples"], level: float) -> tuple[float, float]:
    """Return Student's t interval of the mean of two or more independent values."""
    mean = float(values.mean())
    half = student_quantile(level, len(values)) * values.std(ddof=1) / np.sqrt(len(values))
    return mean - half, mean + half


def wilson_interval(share: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of a share of ``count`` independent trials.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return centre - half, centre + half


def intervals(
    estimates: Estimates, covariance: Covariance, samples: Samples | None, level: float
) -> tuple[Estimates, Estimates]:
    """Return the lower and upper ends at ``level``: percentiles of bootstrap samples, else normal by ``covariance``."""
    if samples is not None:
        low, high = percentiles(samples, level)
        return low, high
    half = normal_quantile(level) * np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))
    return estimates - half, estimates + half


def rank_ranges(
    estimates: Estimates,
    covariance: Covariance,
    samples: Samples | None,
    level: float,
    quantile: float | None = None,
    comparable: Bool[np.ndarray, "models models"] | None = None,
) -> tuple[Int64[np.ndarray, "*batch models"], Int64[np.ndarray, "*batch models"]]:
    """Return the best and the worst rank of each model that the intervals of differences allow.

    The best rank is 1 + the number of models that are surely better; the worst is the number that are not surely worse.
    A model is surely better if the interval of the difference of the two coefficients at ``level`` lies above 0. What
    two models share (the same opponents, say) cancels in the difference. Pairs are not corrected for their number,
    unless ``quantile``, which replaces the normal one, is that of all pairs at once (``all_pairs_quantile``). Of two
    models that are not ``comparable`` neither is surely better.
    """
    quantile = normal_quantile(level) if quantile is None else quantile
    if samples is None:
        better = _surely_better(estimates, covariance, quantile)
    else:
        better = np.stack([np.percentile(samples - one[:, None], 50 * (1 - level), axis=0) > 0 for one in samples.T])
    if comparable is not None:
        better &= comparable
    return 1 + better.sum(axis=-1), estimates.shape[-1] - better.sum(axis=-2)


def _surely_better(
    estimates: Estimates, covariance: Covariance, quantile: float
) -> Bool[np.ndarray, "*batch models models"]:
    """Return, for each model (row), which models (columns) are surely better."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    of_difference = variance[..., None, :] + variance[..., :, None] - 2 * covariance
    difference = estimates[..., None, :] - estimates[..., :, None]
    return difference > quantile * np.sqrt(np.maximum(of_difference, 0))
