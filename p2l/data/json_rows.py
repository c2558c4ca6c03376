"""Read JSON lines and JSON lists of objects; numbers in columns of names keep their literal text."""

import gzip
import json
import re
from collections.abc import Callable, Sequence
from gzip import BadGzipFile
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from p2l.errors import DataError

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_ParseFloat = Callable[[str], Any] | None


def parse_json(text: str, *, parse_float: _ParseFloat = None) -> Any:
    """Decode JSON to valid Unicode: half a surrogate pair, which occurs in real chats, becomes U+FFFD."""
    value = json.loads(text, parse_float=parse_float)
    return _well_formed(value) if _SURROGATE_ESCAPE.search(text) else value


def read_json(path: Path, text_columns: Sequence[str]) -> pd.DataFrame:
    """Read a file of JSON lines, or one list of objects; ``text_columns`` keep the literal text of their numbers."""
    frame = frame_of_rows(_rows(path))
    literal = [name for name in text_columns if name in frame.columns and _has_floats(frame[name])]
    if literal:  # read once more: a float has forgotten how it was written
        written = pd.DataFrame(_rows(path, parse_float=str), dtype=object)
        for name in literal:
            frame[name] = written[name]
    return frame


def frame_of_rows(rows: Sequence[Any]) -> pd.DataFrame:
    """Return a table of dicts, with the types of ``infer_numbers``."""
    return infer_numbers(pd.DataFrame(rows, dtype=object))


def infer_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Infer the types of object columns; integers beside gaps or fractions stay, which pandas would make floats."""
    inferred = frame.infer_objects()
    for name in inferred.columns[inferred.dtypes == np.float64]:
        if any(isinstance(value, (int, np.integer)) for value in frame[name]):
            inferred[name] = frame[name]
    return inferred


def _has_floats(column: pd.Series) -> bool:
    return column.dtype in (np.float64, np.object_) and any(isinstance(v, float) and v == v for v in column)


def _rows(path: Path, parse_float: _ParseFloat = None) -> list[dict[str, object]]:
    try:
        with _open(path) as file:
            read = _json_list if _first_character(file) == "[" else _json_lines
            return read(file, path, parse_float)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    except (BadGzipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as gzip: {error}") from error


def _open(path: Path) -> TextIOWrapper:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _first_character(file: TextIOWrapper) -> str:
    first_line = next((line for line in file if line.strip()), "")
    file.seek(0)
    return first_line.lstrip()[:1]


def _json_lines(file: TextIOWrapper, path: Path, parse_float: _ParseFloat) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, parse_float=parse_float)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: expected one JSON object a line, or a list of them as the whole file "
                f"({error.msg}, column {error.colno})"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected one JSON object a line, found a {type(row).__name__}")
        rows.append(row)
    return rows


def _json_list(file: TextIOWrapper, path: Path, parse_float: _ParseFloat) -> list[dict[str, object]]:
    try:
        rows = parse_json(file.read(), parse_float=parse_float)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected a list of JSON objects, found a {type(row).__name__}")
    return cast(list[dict[str, object]], rows)


def _well_formed(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    return value
