"""Columns of a table as arrays: strings by their distinct values, and numbers."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Names:
    """A column of names by its distinct values: row i holds ``values[codes[i]]``; None is a missing or blank name."""

    codes: Int64[np.ndarray, " votes"]
    values: list[str | None]

    @classmethod
    def of(cls, column: pd.Series) -> "Names":
        codes, uniques = factorize(column)
        return cls(codes, [_name(value) for value in uniques])

    def positions(self, of: Sequence[str]) -> Int64[np.ndarray, " votes"]:
        """Return each row's position in a list of unique names, -1 if it is not in the list."""
        position = {value: index for index, value in enumerate(of)}
        places = [-1 if value is None else position.get(value, -1) for value in self.values]
        return np.array(places, dtype=np.int64)[self.codes]

    def missing(self) -> Bool[np.ndarray, " votes"]:
        return np.array([value is None for value in self.values], dtype=bool)[self.codes]


def factorize(column: pd.Series) -> tuple[Int64[np.ndarray, " votes"], list[Any]]:
    """Return each row's position among the distinct values, and those; missing values, lists and dicts count too."""
    try:
        codes, uniques = pd.factorize(column, use_na_sentinel=False)
    except TypeError:  # not hashable
        codes, uniques = pd.factorize(column.map(_hashable), use_na_sentinel=False)
    return codes.astype(np.int64, copy=False), list(uniques)


def _hashable(value: object) -> Hashable:
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(_hashable, value))
    return value if isinstance(value, Hashable) else repr(value)


def _name(value: object) -> str | None:
    return None if pd.isna(value) is True or not str(value).strip() else str(value)


def numbers(column: pd.Series) -> Float64[np.ndarray, " votes"]:
    """Return the numbers of a column; NaN for anything else."""
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
