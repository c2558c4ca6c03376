"""Read a column of timestamps: numbers of one unit, dates, dates as numbers (20240131), or text in ISO 8601."""

import re

import numpy as np
import pandas as pd
from jaxtyping import Bool

from p2l.errors import DataError

_DAY_OR_MONTH_FIRST = re.compile(r"\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")
_EARLIEST_SECONDS = 1e8  # 1973: smaller numbers count something else, such as days of an experiment
_ONE_UNIT = 100  # seconds and milliseconds differ by 1000
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by the number of digits: 20240131
_YEARS = (1900, 2100)


def read_times(column: pd.Series) -> pd.Series:
    """Return timestamps as numbers or dates that can be sorted; missing values stay missing.

    Raises ``DataError``, with row and value, for text that is not ISO 8601, for numbers beside dates, and for seconds
    beside milliseconds.
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
    if np.isnan(values).all():
        return numbers
    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    if values[low] > _EARLIEST_SECONDS and values[high] > _ONE_UNIT * values[low]:
        raise DataError(
            f"timestamp mixes units: row {low} holds {values[low]:.0f} and row {high} {values[high]:.0f}, "
            "which cannot both be seconds; write all in one unit"
        )
    return numbers
