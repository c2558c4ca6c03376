"""Clusters of votes that are not independent (of a prompt, user or session): checked before intervals rest on them."""

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.column_values import check_exact_ids, factorize, without_spaces
from p2l.errors import DataError

FEW_CLUSTERS = 20  # below, sandwich and bootstrap are known to be too narrow (Cameron and Miller 2015, section VI)
_GAPS = {"", "nan", "none", "null", "<na>"}


def cluster_codes(values: np.ndarray, name: str) -> Int64[np.ndarray, " votes"]:
    """Return the cluster of each vote, numbered from 0.

    Raises DataError if a vote has no cluster (None, NaN or blank), or if all votes are of one: votes without a known
    cluster would count as a single one, and the intervals would be far too narrow. So too if ids were rounded.
    """
    codes, found = factorize(pd.Series(values))
    places, distinct = factorize(pd.Series([without_spaces(value) for value in found], dtype=object))
    codes = places[codes]
    check_exact_ids(distinct, name)
    gaps = np.flatnonzero(np.array([is_missing(value) for value in distinct], dtype=bool)[codes])
    if gaps.size:
        first = ", ".join(map(str, gaps[:3]))
        raise DataError(
            f"{name} is missing in {gaps.size:,} of {len(codes):,} votes, first in vote {first}; fill it in (with a "
            f"value of its own if a vote is independent), drop these votes, or give no cluster"
        )
    if len(distinct) == 1:
        raise DataError(
            f"all {len(codes):,} votes have the same {name}, {distinct[0]!r}: intervals need at least two clusters; "
            f"give another column, or no cluster"
        )
    return codes


def is_missing(value: object) -> bool:
    """Return whether the value of a cluster column says nothing: None, NaN, blank text or an empty list."""
    if isinstance(value, str):
        return value.strip().casefold() in _GAPS
    return value == () or pd.isna(value) is True
