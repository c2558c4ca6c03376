"""Read a column of timestamps: numbers of one unit, dates, dates as numbers (20240131), or text in ISO 8601."""

import re

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from p2l.errors import DataError

_DAY_OR_MONTH_FIRST = re.compile(r"\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")
_SMALLEST_DATE = 1e7  # 20240131; from here on, numbers are dates or count seconds, not days of an experiment
_ONE_UNIT = 100  # seconds and milliseconds differ by 1000
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by the number of digits: 20240131
_YEARS, _DATE_UNITS = (1900, 2100), (1e4, 1e8, 1e10)  # a year in dates of 8, 12 and 14 digits


def read_times(column: pd.Series) -> pd.Series:
    """Return timestamps as numbers or dates that can be sorted; missing values stay missing.

    Raises ``DataError``, with row and value, for text that is not ISO 8601, for numbers beside dates, and for numbers
    of several units: seconds beside milliseconds, 20240131, or days.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    present = column.notna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    is_number = numbers.notna().to_numpy()
    if (is_number == present).all():
        dates = _dates_of_numbers(numbers)
        return _of_one_unit(numbers) if dates is None else dates
    if is_number.any():
        number, date = np.flatnonzero(is_number)[0], np.flatnonzero(present & ~is_number)[0]
        raise DataError(
            f"timestamp mixes numbers and dates: row {number} holds {column.iloc[number]!r} and row {date} "
            f"{str(column.iloc[date])[:40]!r}; write all as seconds, or all in ISO 8601 (2025-04-03T12:00:00Z)"
        )
    times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    _check_read(column, present & times.isna().to_numpy())
    return times


def _check_read(column: pd.Series, bad: Bool[np.ndarray, " votes"]) -> None:
    if not bad.any():
        return
    row = int(np.flatnonzero(bad)[0])
    value = str(column.iloc[row])
    doubt = ", whose day and month cannot be told apart" if _DAY_OR_MONTH_FIRST.match(value) else ""
    raise DataError(
        f"timestamp is missing or unreadable in {int(bad.sum())} votes (the first: row {row}); it holds "
        f"{value[:40]!r}{doubt}; write seconds, or ISO 8601: year-month-day, such as 2025-04-03T12:00:00Z"
    )


def _dates_of_numbers(numbers: pd.Series) -> pd.Series | None:
    """Return numbers that all spell a date of 1900 to 2100, such as 20240131, as dates; None if one does not."""
    values = numbers.dropna().to_numpy(dtype=np.float64)
    digits = len(f"{values.max():.0f}") if len(values) and np.isfinite(values).all() else 0
    if digits not in _CALENDAR or (values != np.rint(values)).any() or len(f"{values.min():.0f}") != digits:
        return None
    texts = pd.Series(values.astype(np.int64)).astype(str)
    dates = pd.to_datetime(texts, format=_CALENDAR[digits], errors="coerce", utc=True)
    if not dates.dt.year.between(*_YEARS).all():
        return None
    found = pd.Series(pd.NaT, index=range(len(numbers)), dtype=dates.dtype)
    found[np.flatnonzero(numbers.notna())] = dates.to_numpy()
    return found.set_axis(numbers.index)


def _of_one_unit(numbers: pd.Series) -> pd.Series:
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"timestamp is not finite: row {row} holds {values[row]}; write seconds, or leave it empty")
    rows = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
    jumps = np.flatnonzero(_change_unit(values[rows]))
    if jumps.size:
        first, second = sorted(rows[jumps[0] : jumps[0] + 2].tolist())
        raise DataError(
            f"timestamp mixes units: row {first} holds {values[first]:.17g} and row {second} {values[second]:.17g}, "
            "which cannot both be seconds; write all in one unit, and leave missing ones empty"
        )
    return numbers


def _change_unit(ordered: Float64[np.ndarray, " votes"]) -> Bool[np.ndarray, " steps"]:
    """Mark the steps of ascending numbers that no time between two votes explains."""
    low, high = ordered[:-1], ordered[1:]
    # dates of 8, 12 or 14 digits; seconds and milliseconds of that size are of years without votes
    days, *finer = [(ordered >= _YEARS[0] * unit) & (ordered < _YEARS[1] * unit) for unit in _DATE_UNITS]
    other = np.any([one[:-1] != one[1:] for one in finer], axis=0) | (days[:-1] & (high > 10 * low))
    return (high > _SMALLEST_DATE) & ((high > _ONE_UNIT * low) | other)
