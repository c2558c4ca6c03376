"""Write a table as JSON without loss: all digits of a number, all digits of a time."""

import json
import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from io import TextIOBase
from typing import Any, TextIO

import numpy as np
import pandas as pd


def write_json_table(frame: pd.DataFrame, file: TextIO | TextIOBase, *, lines: bool) -> None:
    """Write one object a row: a line each, or as one list. Missing values, NaN and infinity become null, times and
    durations ISO 8601.

    Raises ``TypeError``, ``ValueError`` or ``RecursionError`` for values that JSON cannot hold, such as bytes that are
    not UTF-8.
    """
    rows = (dict(zip(map(str, frame.columns), row, strict=True)) for row in zip(*map(_values, frame.items())))
    if lines:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    else:
        file.write("[" + ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows) + "]\n")


def _values(item: tuple[Any, pd.Series]) -> list[Any]:
    return [json_value(value) for value in item[1].tolist()]


def json_value(value: Any) -> Any:
    """Return a value as ``json.dumps`` takes it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, bytes):
        return value.decode()  # UnicodeDecodeError, a ValueError, if it is not text
    if isinstance(value, (np.ndarray, np.generic)):
        return json_value(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, (date, time)):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return pd.Timedelta(value).isoformat()
    return str(value) if isinstance(value, Decimal) else value
