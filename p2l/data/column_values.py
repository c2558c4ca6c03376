"""Columns of a table as arrays: strings by their distinct values, and numbers."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from p2l.errors import DataError

_NO_NAMES = (list, tuple, dict, set, frozenset, np.ndarray)
_FLAGS = {**dict.fromkeys(("true", "t", "yes", "y"), True), **dict.fromkeys(("false", "f", "no", "n"), False)}
_FIRST_ROUNDED = 2.0**53  # this float may have been the next integer
# as floats are written, with a decimal point or comma: 9007199254740992.0, and 1e+17 of any size, 1,23457E+11 of a
# spreadsheet included; 1e17 may be the digits of a hash, 1.5e17 may not
_WRITTEN_FLOAT = re.compile(r"([+-]?\d+)[.,]0+")
_WITH_EXPONENT = re.compile(r"[+-]?\d([.,]\d+[eE]\+?|[eE]\+)\d+")


@dataclass(frozen=True)
class Names:
    """A column of names by its distinct values: row i holds ``values[codes[i]]``; None is a missing or blank name."""

    codes: Int64[np.ndarray, " votes"]
    values: list[str | None]

    @classmethod
    def of(cls, column: pd.Series) -> "Names":
        codes, uniques = factorize(column)
        return cls(codes, [text_of(value) for value in uniques])

    def positions(self, of: Sequence[str]) -> Int64[np.ndarray, " votes"]:
        """Return each row's position in a list of unique names, -1 if it is not in the list."""
        position = {value.strip(): index for index, value in enumerate(of)}
        places = [-1 if value is None else position.get(value, -1) for value in self.values]
        return np.array(places, dtype=np.int64)[self.codes]

    def missing(self) -> Bool[np.ndarray, " votes"]:
        return np.array([value is None for value in self.values], dtype=bool)[self.codes]


def factorize(column: pd.Series) -> tuple[Int64[np.ndarray, " votes"], list[Any]]:
    """Return each row's position among the distinct values, and those; missing values, lists and dicts count too."""
    codes, uniques = _factorized(column)
    return codes, list(uniques)


def codes_of(column: pd.Series) -> Int64[np.ndarray, " votes"]:
    """Return each row's position among the distinct values, as ``factorize`` does."""
    return _factorized(column)[0]


def _factorized(column: pd.Series) -> tuple[Int64[np.ndarray, " votes"], Any]:
    try:
        codes, uniques = pd.factorize(column, use_na_sentinel=False)
    except TypeError:  # not hashable
        codes, uniques = pd.factorize(column.map(_hashable), use_na_sentinel=False)
    return codes.astype(np.int64, copy=False), uniques


def _hashable(value: object) -> Hashable:
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(_hashable, value))
    return value if isinstance(value, Hashable) else repr(value)


def text_of(value: object) -> str | None:
    """Return a name or id as text without spaces around it; None if it is missing or blank.

    A whole float is an integer that a gap in its column made a float: 100.0 is "100"; bytes are UTF-8. Raises
    ``DataError`` if a float is too large to be exact, or bytes are not UTF-8.
    """
    if pd.isna(value) is True:
        return None
    if isinstance(value, bytes):
        return decoded(value).strip() or None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        if is_rounded(value):
            raise DataError(f"the id {value!r} was rounded before p2l read it; give the column as text or integers")
        return str(int(value))
    return str(value).strip() or None


def flag_of(value: object) -> bool | None:
    """Return what a flag says: a bool, 1 or 0, or the text of one, also yes, no and first letters; None for others."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _FLAGS:
            return _FLAGS[text]
        value = float(text) if re.fullmatch(r"[01](\.0*)?", text) else None
    return bool(value) if isinstance(value, Number) and value in (0, 1) else None


def is_gap(value: object) -> bool:
    """Return whether a value is missing or blank text."""
    return (isinstance(value, str) and not value.strip()) or pd.isna(value) is True


def is_rounded(value: object) -> bool:
    """Return whether an id is an integer that was rounded to a float, or the text of one."""
    if isinstance(value, str):
        text = value.strip()
        whole = _WRITTEN_FLOAT.fullmatch(text)
        return bool(_WITH_EXPONENT.fullmatch(text)) or (whole is not None and is_rounded(float(whole[1])))
    return isinstance(value, (float, np.floating)) and abs(value) >= _FIRST_ROUNDED


def check_exact_ids(distinct: Iterable[object], name: str) -> None:
    """Raise ``DataError``, naming the column, if an id was rounded: different ids have become one."""
    if (rounded := next((value for value in distinct if is_rounded(value)), None)) is not None:
        raise DataError(
            f"{name}: the id {rounded!r} was rounded before p2l read it, so that different ids may have become one; "
            "give the column as text or integers"
        )


def without_spaces(label: Any) -> Any:
    """Return a label without spaces around it, as names are; values that are no text are unchanged."""
    return label.strip() if isinstance(label, str) else label


def decoded(value: bytes) -> str:
    """Return bytes as text; ``DataError`` if they are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{value[:40]!r} is not UTF-8 text ({error}); give names and prompts as text") from None


def check_names(column: pd.Series) -> None:
    """Raise ``DataError`` if a column of names holds a list or dict."""
    values = column.tolist() if column.dtype == object else []
    if any(issubclass(kind, _NO_NAMES) for kind in set(map(type, values))):
        odd = next(value for value in values if isinstance(value, _NO_NAMES))
        raise DataError(
            f"column {column.name}: expected a name as text, such as 'gpt-4'; got {str(odd)[:80]} "
            f"({type(odd).__name__}); write the name alone"
        )


def _is_clean_text(values: list[object]) -> bool:
    """Return whether every value is text that ``text_of`` does not change."""
    return all(type(value) is str and value and value.strip() == value for value in values)


def as_text(column: pd.Series) -> pd.Series:
    """Return a column of names as text, see ``text_of``; the column itself if it is that already.

    Raises ``DataError`` if it holds a list or dict.
    """
    if isinstance(column.dtype, pd.StringDtype) and _is_clean_text(column.tolist()):
        return column
    check_names(column)
    codes, values = factorize(column)
    texts = [text_of(value) for value in values]
    if all(isinstance(value, str) and value == text for value, text in zip(values, texts, strict=True)):
        return column
    if all(text is None or value == text for value, text in zip(values, texts, strict=True)):
        blank = any(isinstance(value, str) and text is None for value, text in zip(values, texts, strict=True))
        if not blank:
            return column
    new = np.empty(len(texts), dtype=object)
    new[:] = texts
    return pd.Series(new[codes], index=column.index, name=column.name, dtype=object)


def required_numbers(
    column: pd.Series,
    source: str,
    *,
    least: float = -np.inf,
    above: float = -np.inf,
    advice: str | None = None,
) -> pd.Series:
    """Return a column as float64, NaN for missing values and blank text.

    Raises ``DataError``, with row and value, for anything that is not a finite number of at least ``least`` and greater
    than ``above``.
    """
    blank = _is_blank(column)
    found = pd.to_numeric(column.mask(blank), errors="coerce").astype(np.float64)
    bad = np.flatnonzero(
        ((column.notna() & ~blank) & ~(np.isfinite(found) & (found >= least) & (found > above))).to_numpy()
    )
    if bad.size:
        bound = f" above {above:g}" if above > -np.inf else f" of at least {least:g}" if least > -np.inf else ""
        wanted, value = f"finite numbers{bound}", str(column.iloc[bad[0]])
        raise DataError(
            f"{source}, column {column.name}: expected {wanted}; row {column.index[bad[0]]} holds "
            f"{value[:60]!r} ({bad.size:,} such rows); {advice or _number_advice(value)}"
        )
    return found


def _number_advice(value: str) -> str:
    """Say what to do about a value: a number that something stands beside, or none."""
    has_more = re.search(r"\d", value) and pd.isna(pd.to_numeric(value, errors="coerce"))
    return "write it without units, such as 0.001" if has_more else "leave it empty if it is unknown"


def numbers(column: pd.Series) -> Float64[np.ndarray, " votes"]:
    """Return the numbers of a column: NaN for missing values and blank text, infinity for what is not a number."""
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = np.isnan(found)
    if unread.any():
        given = column[unread]
        found = np.array(found)  # a view may be read-only
        found[np.flatnonzero(unread)[(given.notna() & ~_is_blank(given)).to_numpy()]] = np.inf
    return found


def _is_blank(column: pd.Series) -> pd.Series:
    """Mark texts without a character that can be seen."""
    return column.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)
