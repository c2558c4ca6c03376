"""Bootstrap: rows or whole clusters (prompts, say) drawn with replacement, and percentile intervals."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_matrix

from p2l.options import check_level
from p2l.statistics.intervals import percentiles

log = logging.getLogger(__name__)

FEW_CLUSTERS = 20  # below, sandwich and bootstrap are known to be too narrow (Cameron and Miller 2015, section VI)
RESAMPLES = 2000
_BLOCK = 1 << 21  # counts (resamples x prompts) in a block: bounds the memory


@dataclass(frozen=True)
class Interval:
    """A value and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def resampled_sums(
    *columns: Float64[np.ndarray, "prompts _"] | csr_matrix, resamples: int = RESAMPLES, seed: int = 0
) -> list[Float64[np.ndarray, "resamples _"]]:
    """Return the column sums of each table over resampled prompts; all tables share the draws.

    A resample has as many prompts as the table. The draws are exactly multinomial: first how many fall into a block of
    prompts, then which prompts of the block, so that memory does not grow with the number of prompts. A single prompt
    gives NaN: it says nothing about the spread between prompts. Fewer than ``FEW_CLUSTERS`` give a warning.
    """
    num_prompts = columns[0].shape[0]
    if num_prompts < FEW_CLUSTERS:
        _warn_of_few(num_prompts)
    if num_prompts < 2:
        return [np.full((resamples, table.shape[1]), np.nan) for table in columns]
    rng = np.random.default_rng(seed)
    edges = np.append(np.arange(0, num_prompts, max(1, _BLOCK // resamples)), num_prompts)
    drawn = rng.multinomial(num_prompts, np.diff(edges) / num_prompts, size=resamples)
    sums = [np.zeros((resamples, table.shape[1])) for table in columns]
    for block, (start, stop) in enumerate(pairwise(edges)):
        counts = _counts(drawn[:, block], int(stop - start), rng)
        for total, table in zip(sums, columns, strict=True):
            total += counts @ table[start:stop]
    return sums


@cache  # once for many metrics of the same prompts
def _warn_of_few(num_prompts: int) -> None:
    if num_prompts < 2:
        log.warning("%d prompt: nothing tells how much prompts differ, so that there is no interval", num_prompts)
    else:
        log.warning("only %d prompts: intervals are too narrow with fewer than %d", num_prompts, FEW_CLUSTERS)


def _counts(drawn: np.ndarray, size: int, rng: np.random.Generator) -> Float64[np.ndarray, "resamples size"]:
    cells = np.repeat(np.arange(len(drawn)) * size, drawn) + rng.integers(size, size=int(drawn.sum()))
    return np.bincount(cells, minlength=len(drawn) * size).reshape(len(drawn), size).astype(np.float64)


def resampled_rows(
    num_rows: int, cluster: Int64[np.ndarray, " rows"] | None, count: int, seed: int
) -> Iterator[Int64[np.ndarray, " _"]]:
    """Yield the row positions of ``count`` resamples: of rows, or of whole clusters (codes from 0)."""
    rng = np.random.default_rng(seed)
    if cluster is None:
        yield from (rng.integers(num_rows, size=num_rows) for _ in range(count))
        return
    order, sizes = np.argsort(cluster, kind="stable"), np.bincount(cluster)
    starts = np.cumsum(sizes) - sizes
    for _ in range(count):
        drawn = rng.integers(len(sizes), size=len(sizes))
        within = np.arange(sizes[drawn].sum()) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])
        yield order[np.repeat(starts[drawn], sizes[drawn]) + within]


def bootstrap_mean(
    values: Float64[np.ndarray, " rows"],
    weight: np.ndarray,
    cluster: Int64[np.ndarray, " rows"],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the weighted mean of ``values`` with a percentile interval from resampled clusters."""
    check_level(level)
    sums = np.stack([np.bincount(cluster, weights=column) for column in (values * weight, weight)], axis=1)
    (samples,) = resampled_sums(sums, seed=seed)
    total = sums.sum(axis=0)
    return percentile_interval(total[0] / total[1], samples[:, 0] / samples[:, 1], level)


def percentile_interval(value: float, samples: Float64[np.ndarray, " resamples"], level: float = 0.95) -> Interval:
    """Return the interval that holds the middle ``level`` of the finite resamples; NaN ends if none is finite."""
    known = samples[np.isfinite(samples)]
    low, high = percentiles(known, level) if len(known) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
