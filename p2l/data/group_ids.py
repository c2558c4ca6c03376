"""Ids of groups of votes (clusters, conversations): exact, without gaps, and none that holds too many votes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.column_values import check_exact_ids, factorize, without_spaces

_GAPS = {"", "nan", "none", "null", "<na>"}
_LARGE_SHARE = 0.1  # of the votes in one group: the spread between groups is then known to 15 % at best
_FAIR_SHARES = 3  # a group of few may hold more than that, if all do


@dataclass(frozen=True)
class GroupIds:
    """The group of each vote, numbered from 0; ``missing`` are the votes without one."""

    name: str
    codes: Int64[np.ndarray, " votes"]
    ids: list[object]
    missing: Int64[np.ndarray, " missing"]

    @classmethod
    def of(cls, column: pd.Series, name: str) -> "GroupIds":
        """Read a column of ids, which may be lists. Raises ``DataError`` if ids were rounded."""
        codes, found = factorize(column)
        places, ids = factorize(pd.Series([without_spaces(value) for value in found], dtype=object))
        check_exact_ids(ids, name)
        codes = places[codes]
        missing = np.flatnonzero(np.array([_is_missing(value) for value in ids], dtype=bool)[codes])
        return cls(name, codes, ids, missing)

    def largest_doubt(self) -> str | None:
        """Describe the largest group, if it holds so many votes that its id may stand for missing ones."""
        sizes = np.bincount(self.codes)
        share = sizes.max() / len(self.codes)
        if share < max(_LARGE_SHARE, _FAIR_SHARES / len(sizes)):
            return None
        return (
            f"{self.name} {self.ids[sizes.argmax()]!r} stands in {sizes.max():,} of {len(self.codes):,} votes "
            f"({share:.0%}), which count as one group; if it means that the value is missing, give each of these votes "
            "a value of its own"
        )


def _is_missing(value: object) -> bool:
    """Return whether an id says nothing: None, NaN, blank text, the text of a missing value or an empty list."""
    if isinstance(value, str):
        return value.strip().casefold() in _GAPS
    return value == () or pd.isna(value) is True
