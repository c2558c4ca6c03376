"""Calibration: do outcomes of predicted probability p happen in a share p of the votes?"""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_matrix

from p2l.statistics.bootstrap import Interval, percentile_interval

BINS = 10  # of equal width over [0, 1]


def bin_of(probs: Float64[np.ndarray, "votes outcomes"]) -> Int64[np.ndarray, "votes outcomes"]:
    """Return the column of each probability in the tables of this module: bins of the first outcome, then the next."""
    offsets = BINS * np.arange(probs.shape[1])
    return np.minimum((probs * BINS).astype(np.int64), BINS - 1) + offsets


def gaps_by_prompt(
    probs: Float64[np.ndarray, "votes outcomes"],
    targets: Float64[np.ndarray, "votes outcomes"],
    weight: Float64[np.ndarray, " votes"],
    prompt_index: Int64[np.ndarray, " votes"],
) -> csr_matrix:
    """Return the weighted sum of p - t for each prompt (rows), outcome and bin of p (columns)."""
    num_outcomes = probs.shape[1]
    rows = np.repeat(prompt_index, num_outcomes)
    gaps = (weight[:, None] * (probs - targets)).ravel()
    shape = (int(prompt_index.max()) + 1, num_outcomes * BINS)
    return csr_matrix((gaps, (rows, bin_of(probs).ravel())), shape=shape)


def calibration_error(
    gaps: Float64[np.ndarray, "samples columns"], weight: Float64[np.ndarray, " samples"]
) -> Float64[np.ndarray, " samples"]:
    """Return the classwise expected calibration error, the mean over outcomes of sum_bins |sum (p - t)| / all votes.

    Source: Kull et al., NeurIPS 2019. With few votes it is far from 0 even for a calibrated model.
    """
    num_outcomes = gaps.shape[1] // BINS
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold no vote
        return np.abs(gaps).sum(axis=1) / (num_outcomes * weight)


def centred_interval(value: float, samples: Float64[np.ndarray, " resamples"]) -> Interval:
    """Return the interval of a calibration error, shifted back by its bias: resampling adds noise to every bin."""
    if not np.isfinite(samples).any():
        return percentile_interval(value, samples)
    shifted = np.maximum(samples - (np.nanmean(samples) - value), 0)
    return percentile_interval(value, shifted)


def reliability(
    outcomes: tuple[str, ...],
    probs: Float64[np.ndarray, "votes outcomes"],
    targets: Float64[np.ndarray, "votes outcomes"],
    weight: Float64[np.ndarray, " votes"],
) -> dict[str, dict[str, Any]]:
    """Return the bins that hold votes, by outcome: mean probability, observed share, and weight of votes."""
    bins, size = bin_of(probs), len(outcomes) * BINS
    all_weights = np.repeat(weight, len(outcomes))
    sums = [
        np.bincount(bins.ravel(), weights=values, minlength=size).reshape(len(outcomes), BINS)
        for values in (all_weights, all_weights * probs.ravel(), all_weights * targets.ravel())
    ]
    return {name: _curve(*(table[k] for table in sums)) for k, name in enumerate(outcomes)}


def _curve(weight: np.ndarray, predicted: np.ndarray, observed: np.ndarray) -> dict[str, list[float]]:
    used = weight > 0
    return {
        "predicted": (predicted[used] / weight[used]).tolist(),
        "observed": (observed[used] / weight[used]).tolist(),
        "votes": weight[used].tolist(),
    }
