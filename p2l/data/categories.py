"""Categories of prompts: the rows of a table that belong to one, and its name in Arena's leaderboards."""

import ast
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool

from p2l.data.column_values import flag_of, is_gap, without_spaces
from p2l.errors import ConfigError, DataError

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_VALUES_SHOWN = 8

Rows = Bool[np.ndarray, " votes"]


@dataclass(frozen=True)
class Category:
    """A set of rows, by the value of a column.

    Attributes:
        name: as in the option ``categories`` and in the results.
        columns: that hold the value; of several, the first that the table has. A dot enters a column of dicts
            (``category_tag.math_v0.1.math``); ``+`` adds flags (``math+coding``), and a dict counts as the sum of its
            flags. Empty: all rows.
        kind: "equals" or "at_least" ``value``.
        arena: its name in Arena's leaderboards, None if it has none there.
    """

    name: str
    columns: tuple[str, ...] = ()
    kind: Literal["equals", "at_least"] = "equals"
    value: str | float | bool = True
    arena: str | None = None

    def needs(self, columns: Collection[str]) -> set[str]:
        """Return the columns that ``rows`` reads in a table that has these; ``DataError`` if it lacks all."""
        if not self.columns:
            return set()
        for path in self.columns:
            found = {_enter(columns, part)[0] for part in path.split("+")}
            if None not in found:
                return found
        raise self._missing()

    def _missing(self) -> DataError:
        return DataError(f"the table has no column {' or '.join(self.columns)}")

    def rows(self, frame: pd.DataFrame) -> Rows:
        """Mark the rows in the category; missing values are in none.

        ``DataError`` if the table lacks all columns, or holds values that are not the flags or numbers meant.
        """
        if not self.columns:
            return np.ones(len(frame), dtype=bool)
        found = next((values for values in (_sum_of(frame, path) for path in self.columns) if values is not None), None)
        if found is None:
            raise self._missing()
        if self.kind == "at_least":
            return np.array(self._read(found, _number, "numbers or flags")) >= float(self.value)
        if isinstance(self.value, bool):
            return np.array(self._read(found, _flag, "flags"), dtype=np.float64) == self.value
        wanted = without_spaces(self.value)
        return np.array([_equals(without_spaces(value), wanted) for value in found], dtype=bool)

    def _read(self, values: Iterable[Any], read: Callable[[Any], float | None], wanted: str) -> list[float]:
        """Read the value of each row; ``DataError`` with the values that cannot be read."""
        found = [(value, read(value)) for value in values]
        if unread := dict.fromkeys(str(value)[:60] for value, number in found if number is None):
            shown = ", ".join(map(repr, list(unread)[:_VALUES_SHOWN]))
            raise DataError(
                f"category {self.name}, column {' or '.join(self.columns)}: expected {wanted} (true and false, 1 and "
                f"0, yes and no; an empty cell is missing); got {shown}{', ...' if len(unread) > _VALUES_SHOWN else ''}"
            )
        return [number for _, number in found if number is not None]


def find_category(name: str, known: Mapping[str, Mapping[str, Any]]) -> Category:
    """Return a category of the table ``known`` (name: the other attributes), or ``column=value`` for any column.

    ``ConfigError`` if the name is neither, or the entry of the table is not valid.
    """
    if name in known:
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in known[name].items()
        }
        try:
            return Category(name, **options)
        except TypeError as error:
            raise ConfigError(f"category {name}: {error}") from None
    column, equals, value = name.partition("=")
    if not equals or not column or not value:
        raise ConfigError(f"unknown category {name!r}; known: {', '.join(known)}, and column=value for any column")
    wanted, entry = flag_of(value), find_category(column, known) if column in known else None
    if entry is not None and entry.columns and entry.kind == "equals" and entry.value is True and wanted is not None:
        return replace(entry, name=name, value=wanted, arena=entry.arena if wanted else None)
    return Category(name, (column,), value=value, arena=value.strip().lower() if column == "language" else None)


def _sum_of(frame: pd.DataFrame, path: str) -> list[Any] | None:
    """Return the value of each row; None if the table has no such column."""
    parts = [_values(frame, part) for part in path.split("+")]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else [_sum(values) for values in zip(*known, strict=True)]


def _values(frame: pd.DataFrame, path: str) -> list[Any] | None:
    column, rest = _enter(frame.columns, path)
    if column is None:
        return None
    values = frame[column].tolist()
    return values if not rest else [_inside(value, rest) for value in values]


def _inside(value: object, path: str) -> Any:
    value = _parsed(value)
    if not isinstance(value, dict):
        return None
    key, rest = _enter(value, path)
    return None if key is None else _inside(value[key], rest) if rest else value[key]


def _parsed(value: object) -> object:
    """Parse a dict that a CSV file holds as text: as JSON, or as Python writes it (``DataFrame.to_csv``)."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError):
            continue
    raise DataError(f"expected a dict, as JSON or as Python writes it; got {value[:100]!r}")


def _enter(keys: Any, path: str) -> tuple[Any, str]:
    """Return the key that a path starts with, and the rest; keys may hold dots themselves ("math_v0.1")."""
    for key in keys:
        if path == key or path.startswith(f"{key}."):
            return key, path[len(str(key)) + 1 :]
    return None, ""


def _sum(values: Sequence[Any]) -> Any:
    """Add flags or numbers; the first value that is neither stands for their sum."""
    numbers = [_number(value) for value in values]
    unread = [value for value, number in zip(values, numbers, strict=True) if number is None]
    return unread[0] if unread else sum(number for number in numbers if number is not None)


def _number(value: Any) -> float | None:
    """Return a flag or number, also of its text, or the sum of a dict's flags; -inf for a gap, None for others."""
    value = _parsed(value)
    if isinstance(value, dict):
        flags = [False if is_gap(flag) else flag_of(flag) for flag in value.values()]
        return None if None in flags else float(sum(map(bool, flags)))
    if is_gap(value):
        return -math.inf
    flag = flag_of(value)
    try:
        number = float(value if flag is None else flag)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _flag(value: Any) -> float | None:
    """Return 1 or 0 for a flag; NaN for a gap, None for others."""
    return math.nan if is_gap(value) else flag_of(value)


def _equals(value: Any, wanted: str | float) -> bool:
    if value is None or isinstance(value, (dict, list)) or pd.isna(value):
        return False
    if isinstance(value, (bool, np.bool_)) or str(wanted).lower() in ("true", "false"):
        return flag_of(value) is not None and flag_of(value) == flag_of(wanted)
    if isinstance(value, (int, float)) and isinstance(wanted, str):
        return str(value) == wanted or f"{value:g}" == wanted
    if isinstance(value, str) and value != wanted:
        return _decimal(value) is not None and _decimal(value) == _decimal(str(wanted))
    return bool(value == wanted)


def _decimal(text: str) -> float | None:
    """Return the number of a text such as 3, 3.0 or -1.50; None for other texts, and for names such as 0613."""
    return float(text) if _NUMBER.fullmatch(text) else None
