"""Bootstrap over prompts: all resamples at once, in blocks of prompts, so that memory does not grow with them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_matrix

RESAMPLES = 2000
_BLOCK = 1 << 21  # counts (resamples x prompts) in a block


@dataclass(frozen=True)
class Interval:
    """A value and its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def resampled_sums(
    *columns: Float64[np.ndarray, "prompts _"] | csr_matrix, resamples: int = RESAMPLES, seed: int = 0
) -> list[Float64[np.ndarray, "resamples _"]]:
    """The column sums of each table over prompts drawn with replacement, as many as there are; the same draws for all.

    Exactly multinomial: how many draws fall into a block of prompts first, then which prompts of the block.
    """
    num_prompts = columns[0].shape[0]
    rng = np.random.default_rng(seed)
    edges = np.append(np.arange(0, num_prompts, max(1, _BLOCK // resamples)), num_prompts)
    drawn = rng.multinomial(num_prompts, np.diff(edges) / num_prompts, size=resamples)
    sums = [np.zeros((resamples, table.shape[1])) for table in columns]
    for block, (start, stop) in enumerate(pairwise(edges)):
        counts = _counts(drawn[:, block], int(stop - start), rng)
        for total, table in zip(sums, columns, strict=True):
            total += counts @ table[start:stop]
    return sums


def _counts(drawn: np.ndarray, size: int, rng: np.random.Generator) -> Float64[np.ndarray, "resamples size"]:
    cells = np.repeat(np.arange(len(drawn)) * size, drawn) + rng.integers(size, size=int(drawn.sum()))
    return np.bincount(cells, minlength=len(drawn) * size).reshape(len(drawn), size).astype(np.float64)


def percentile_interval(value: float, samples: Float64[np.ndarray, " resamples"], level: float = 0.95) -> Interval:
    """The interval that holds the middle ``level`` of the resamples; those without a value are left out."""
    tail = 50 * (1 - level)
    known = samples[np.isfinite(samples)]
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
