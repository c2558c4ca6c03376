"""Corrections for many tests or many intervals at once."""

import numpy as np
from jaxtyping import Bool, Float64


def benjamini_hochberg(p_values: Float64[np.ndarray, " tests"], rate: float) -> Bool[np.ndarray, " tests"]:
    """Return which tests are discoveries at a false discovery rate; a NaN is never one.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995).
    """
    p_values = np.where(np.isnan(p_values), 1.0, p_values)
    order = np.argsort(p_values)
    passed = np.flatnonzero(p_values[order] <= rate * np.arange(1, len(order) + 1) / max(1, len(order)))
    found = np.zeros(len(p_values), dtype=bool)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found


def bonferroni_level(level: float, num_intervals: int) -> float:
    """Return the level of each of ``num_intervals`` intervals that hold together at ``level``."""
    return 1 - (1 - level) / num_intervals
