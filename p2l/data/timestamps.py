"""Read a column of timestamps: numbers of one unit, dates, dates as numbers (20240131), or text in ISO 8601."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from p2l.errors import DataError

_DAY_OR_MONTH_FIRST = re.compile(r"\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")
_SMALLEST_DATE = 1e7  # 20240131; from here on, numbers are dates or count seconds, not days of an experiment
_ONE_UNIT = 100  # seconds and milliseconds differ by 1000
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by the number of digits: 20240131
_DIGITS_OF_DATE, _FEWEST_DIGITS = 8, 1e6  # 1022024 is the first of February
_MOSTLY = 0.5  # of numbers that are dates, the others are mistakes
_SINCE_1970 = 1e8  # seconds, or a finer unit
_DECIMALS_OF_SECONDS = 9  # of 1.735689600e+09
_DAY = 86400
_WITH_EXPONENT = re.compile(r"[+-]?\d([.,](?P<decimals>\d+)[eE]\+?|[eE]\+)\d+")
_YEARS, _DATE_UNITS = (1900, 2100), (1e4, 1e8, 1e10)  # a year in dates of 8, 12 and 14 digits


def read_times(column: pd.Series) -> pd.Series:
    """Return timestamps as numbers or dates that can be sorted; missing values stay missing.

    Raises ``DataError``, with row and value, for text that is not ISO 8601, for numbers beside dates, for numbers
    of several units (seconds beside milliseconds, 20240131, or days), for dates as numbers that begin with the day or
    month (31012024), and for numbers that were rounded (1.70669E+09).
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    _check_not_rounded(column)
    present = column.notna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    is_number = numbers.notna().to_numpy()
    if (is_number == present).all():
        _check_year_first(column)
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


def _check_not_rounded(column: pd.Series) -> None:
    """Raise DataError if times lost their seconds: as float32, or as a spreadsheet writes large numbers."""
    if column.dtype == np.float32:
        bad = column.abs().to_numpy() >= _SINCE_1970
    elif pd.api.types.is_numeric_dtype(column):
        return
    else:
        bad = np.array([isinstance(value, str) and _is_rounded(value) for value in column.tolist()], dtype=bool)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"timestamp was rounded before p2l read it in {int(bad.sum())} votes (the first: row {row}, which holds "
            f"{str(column.iloc[row])[:40]!r}), so that votes of hours have one time; write whole seconds, or ISO 8601 "
            "(2025-04-03T12:00:00Z)"
        )


def _is_rounded(text: str) -> bool:
    """Return whether seconds, or a finer unit, have fewer digits than seconds need; whole days need few."""
    written = _WITH_EXPONENT.fullmatch(text.strip())
    if written is None or len(written["decimals"] or "") >= _DECIMALS_OF_SECONDS:
        return False
    number = float(text.replace(",", "."))
    seconds = number / 1000 ** max(0, round((math.log10(abs(number) or 1) - 9) / 3))
    return abs(number) >= _SINCE_1970 and seconds % _DAY != 0


def _check_year_first(column: pd.Series) -> None:
    """Raise DataError if all numbers are dates that begin with the day or the month, of which none is a number."""
    if pd.api.types.is_numeric_dtype(column) and not _FEWEST_DIGITS <= column.max() < _SINCE_1970:
        return
    texts = column.dropna().drop_duplicates().map(_digits)
    if texts.empty or not texts.str.fullmatch(r"\d{6}|\d{7,8}|\d{12}|\d{14}").all():
        return
    length = int(texts.str.len().max())
    is_date = length == _DIGITS_OF_DATE  # numbers lose a zero at the start
    if not is_date and (texts.str.len().nunique() > 1 or not texts.str.startswith("0").any()):
        return
    texts = texts.str.zfill(length)
    if length in _CALENDAR and _as_dates(texts, _CALENDAR[length]).all():
        return
    rest = _CALENDAR.get(length, "")[6:]
    year = "%Y" if length in _CALENDAR else "%y"
    if (_as_dates(texts, f"%d%m{year}{rest}") | _as_dates(texts, f"%m%d{year}{rest}")).all():
        raise DataError(
            f"timestamp holds dates whose numbers do not sort: row {texts.index[0]} holds {texts.iloc[0]!r}, whose day "
            "and month cannot be told apart; write year-month-day (2025-04-03, or 20250403)"
        )


def _digits(value: Any) -> str:
    """Return a whole number as text, and text as it is."""
    if isinstance(value, str):
        return value.strip()
    return f"{value:.0f}" if float(value) == np.rint(float(value)) else ""


def _as_dates(texts: pd.Series, form: str) -> pd.Series:
    """Mark the texts that are a date of this form, of a year in which votes may be."""
    return pd.to_datetime(texts, format=form, errors="coerce").dt.year.between(*_YEARS)


def _dates_of_numbers(numbers: pd.Series) -> pd.Series | None:
    """Return numbers that spell a date of 1900 to 2100, such as 20240131, as dates; None if most do not.

    Raises DataError if a few do not.
    """
    values = numbers.dropna().to_numpy(dtype=np.float64)
    digits = len(f"{values.max():.0f}") if len(values) and np.isfinite(values).all() else 0
    if digits not in _CALENDAR or (values != np.rint(values)).any() or len(f"{values.min():.0f}") != digits:
        return None
    texts = pd.Series(values.astype(np.int64)).astype(str)
    dates = pd.to_datetime(texts, format=_CALENDAR[digits], errors="coerce", utc=True)
    is_date = dates.dt.year.between(*_YEARS).to_numpy()
    if not is_date.all():
        if is_date.mean() < _MOSTLY:
            return None
        row = int(np.flatnonzero(numbers.notna())[~is_date][0])
        raise DataError(
            f"timestamp holds dates as numbers, such as {texts[is_date.argmax()]}, but row {row} holds "
            f"{numbers.iloc[row]:.0f}, which is none; correct it, or leave it empty"
        )
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
