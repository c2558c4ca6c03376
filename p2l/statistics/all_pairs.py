"""The critical value of all pairwise comparisons at once."""

from functools import lru_cache

import numpy as np
from scipy.special import ndtr

_GRID = np.linspace(-9.0, 9.0, 4001)


@lru_cache(maxsize=1_000)
def all_pairs_quantile(level: float, num_models: int) -> float:
    """Return the multiple of a difference's standard error that all pairs of models stay within with P = ``level``.

    It is the quantile of the studentised range of normal estimates, over the square root of 2: exact for independent
    estimates of equal variance, and on the safe side for others. Sources: Tukey 1953; Hayter, Ann. Statist. 12 (1984).
    """
    if num_models < 2:
        return 0.0
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle * np.sqrt(2), num_models) < level else (low, middle)
    return (low + high) / 2


def _share_within(range_: float, num_models: int) -> float:
    """Return P(largest - smallest of standard normal draws, one for each model, <= ``range_``)."""
    density = np.exp(-(_GRID**2) / 2) / np.sqrt(2 * np.pi)
    inside = (ndtr(_GRID) - ndtr(_GRID - range_)) ** (num_models - 1)
    return float(num_models * np.trapezoid(density * inside, _GRID))
