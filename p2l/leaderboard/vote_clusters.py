"""Clusters of votes that are not independent (of a prompt, user or session): checked before intervals rest on them."""

import numpy as np
import pandas as pd

from p2l.data.group_ids import GroupIds
from p2l.errors import DataError


def vote_clusters(values: np.ndarray, name: str) -> GroupIds:
    """Return the cluster of each vote.

    Raises DataError if a vote has no cluster (None, NaN or blank), or if all votes are of one: votes without a known
    cluster would count as a single one, and the intervals would be far too narrow. So too if ids were rounded.
    """
    found = GroupIds.of(pd.Series(values), name)
    if found.missing.size:
        first = ", ".join(map(str, found.missing[:3]))
        raise DataError(
            f"{name} is missing in {found.missing.size:,} of {len(values):,} votes, first in vote {first}; fill it in "
            f"(with a value of its own if a vote is independent), drop these votes, or give no cluster"
        )
    if len(found.ids) == 1:
        raise DataError(
            f"all {len(values):,} votes have the same {name}, {found.ids[0]!r}: intervals need at least two clusters; "
            f"give another column, or no cluster"
        )
    return found
