"""Read JSON lines and JSON lists of objects; numbers in columns of names keep their literal text."""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import TextIOBase, TextIOWrapper
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, cast

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from jaxtyping import Float64

from p2l.data.gzip_files import GZIP_ERRORS, open_bytes, open_text, read_bytes
from p2l.errors import DataError
from p2l.unicode_text import encoding_of, without_surrogates

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_LARGEST_INTEGER = 2**63  # orjson reads larger ones as floats
MINUS_ZERO = re.compile(rb"-0\s*[,}\]]")
RowsOf = Callable[..., list[dict[str, Any]]]  # with fast and literal, as ``_rows``
_BETWEEN_ITEMS = re.compile(r"[\s,]*")
_KEY_END = re.compile(rb'"\s*:')


class DuplicateKeyError(DataError):
    """A JSON object has a key twice, so that one of the two values would be lost."""


def parse_json(text: str, *, literal: bool = False) -> Any:
    """Decode JSON to valid Unicode: half a surrogate pair, which occurs in real chats, becomes U+FFFD.

    ``literal`` keeps the text of numbers that Python would write differently, such as 1.50 and -0. Raises
    DuplicateKeyError if an object has a key twice.
    """
    options: dict[str, Any] = {"parse_float": str, "parse_int": _literal_integer} if literal else {}
    value = json.loads(text, object_pairs_hook=_object, **options)
    return without_surrogates(value) if _SURROGATE_ESCAPE.search(text) else value


def read_json(path: Path, text_columns: Sequence[str]) -> pd.DataFrame:
    """Read a file of JSON lines, or one list of objects; ``text_columns`` keep the literal text of their numbers."""
    frame = exact_frame(partial(_rows, path), lambda: bool(MINUS_ZERO.search(read_bytes(path))), text_columns)
    _check_rows(frame, path)
    return frame


def _check_rows(frame: pd.DataFrame, path: Path) -> None:
    """Raise DataError if a file is one object of columns, which pandas writes by default, and not a table of rows."""
    columns = frame.iloc[0].tolist() if len(frame) == 1 and frame.shape[1] > 1 else []
    kind = type(columns[0]) if columns else None
    if kind in (list, dict) and all(type(column) is kind and len(column) == len(columns[0]) for column in columns):
        raise DataError(
            f"{path} is one JSON object with a {kind.__name__} of {len(columns[0]):,} values for each column, and not "
            "a table of rows; write one object a row (pandas: to_json(path, orient='records', lines=True))"
        )


def exact_frame(rows: RowsOf, has_minus_zero: Callable[[], bool], text_columns: Sequence[str]) -> pd.DataFrame:
    """Return a table of rows, parsed as fast as the exactness of their numbers allows."""
    frame = frame_of_rows(rows(fast=True))
    if any(_may_be_rounded(frame[name]) for name in frame.columns):
        frame = frame_of_rows(rows())
    texts = [name for name in text_columns if name in frame.columns]
    literal = [name for name in texts if _floats(frame[name]).size]
    if zeros := [name for name in texts if name not in literal and _has_zero(frame[name])]:
        literal += zeros if has_minus_zero() else []
    if literal:  # read once more: a number has forgotten how it was written
        written = pd.DataFrame(rows(literal=True), dtype=object)
        for name in literal:
            frame[name] = written[name]
    return frame


def frame_of_rows(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a table of dicts, with the types of ``infer_numbers``; a missing key is NaN, half a character U+FFFD."""
    return pd.DataFrame({name: _typed(values) for name, values in _columns(rows).items()}, index=range(len(rows)))


def infer_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Infer the types of object columns; integers beside gaps or fractions stay, which pandas would make floats."""
    return frame.assign(
        **{name: _typed(frame[name].tolist()).set_axis(frame.index) for name in frame.select_dtypes(object).columns}
    )


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    if all(row.keys() == rows[0].keys() for row in rows):
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    names = dict.fromkeys(chain.from_iterable(rows))
    return {name: [row.get(name, np.nan) for row in rows] for name in names}


def _typed(values: list[Any]) -> pd.Series:
    try:
        return _inferred(values)
    except UnicodeEncodeError:  # half a surrogate pair, in a table in memory
        return _inferred([without_surrogates(value) for value in values])


def _inferred(values: list[Any]) -> pd.Series:
    kinds = set(map(type, values))
    if str in kinds and kinds <= {str, NoneType}:
        return pa.array(values, pa.large_string()).to_pandas()
    column = pd.Series(values, dtype=object)
    inferred = column.infer_objects()
    return column if inferred.dtype == np.float64 and any(issubclass(k, (int, np.integer)) for k in kinds) else inferred


def _floats(column: pd.Series) -> Float64[np.ndarray, " floats"]:
    """Return the values of a column that are floats, without NaN."""
    if column.dtype == np.float64:
        values = column.to_numpy()
    else:
        found = [v for v in column.tolist() if isinstance(v, float)] if column.dtype == object else []
        values = np.array(found, dtype=float)
    return values[~np.isnan(values)]


def _may_be_rounded(column: pd.Series) -> bool:
    """Return whether a column holds a float, at any depth, that orjson may have read from a larger integer."""
    if column.dtype == object:
        return _holds_large_float(column.tolist())
    return bool((np.abs(_floats(column)) >= _LARGEST_INTEGER).any())


def _holds_large_float(value: object) -> bool:
    if type(value) is dict:
        return any(map(_holds_large_float, value.values()))
    if type(value) is list:
        return any(map(_holds_large_float, value))
    return type(value) is float and abs(value) >= _LARGEST_INTEGER


def _has_zero(column: pd.Series) -> bool:
    if column.dtype == object:
        return any(type(value) is int and value == 0 for value in column)
    return bool(pd.api.types.is_integer_dtype(column) and (column == 0).any())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        values = ", ".join(repr(value)[:60] for key, value in pairs if key == twice)
        raise DuplicateKeyError(
            f"the key {twice!r} stands {keys.count(twice)} times in one object, with {values}; keep one"
        )
    return found


def _literal_integer(text: str) -> int | str:
    return text if text == "-0" else int(text)


def _rows(path: Path, *, fast: bool = False, literal: bool = False) -> list[dict[str, object]]:
    if fast and (rows := _fast_rows(path)) is not None:
        return rows
    try:
        with open_text(path, "utf-8-sig") as file:
            read = rows_of_list if _first_character(file) == "[" else rows_of_lines
            return read(file, str(path), literal)
    except (UnicodeDecodeError, *GZIP_ERRORS) as error:
        raise unreadable(str(path), error) from error


def unreadable(name: str, error: Exception) -> DataError:
    """Return the error of a file whose bytes cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{name} is not UTF-8 text: {error}; save it as UTF-8")
    return DataError(f"{name} cannot be read as gzip: {error}")


def _fast_rows(path: Path) -> list[dict[str, object]] | None:
    """Read JSON lines by orjson; None if the file needs the reader that knows lists, other line ends and errors."""
    try:
        with open_bytes(path) as file:
            if starts_a_list(file.read(64), str(path)):
                return None
            file.seek(0)
            first = file.readline().removeprefix(codecs.BOM_UTF8)
            return fast_rows_of_lines(chain([first], file))
    except GZIP_ERRORS:
        return None


def starts_a_list(content: bytes, name: str) -> bool:
    """Return whether a file that begins so is one JSON list; ``DataError``, naming it, if it is not UTF-8."""
    if (encoding := encoding_of(content[:4])) != "utf-8-sig":
        raise DataError(
            f"{name} seems to be {encoding.upper()} text; expected UTF-8: convert it, such as by "
            f"iconv -f {encoding.upper()} -t UTF-8"
        )
    return content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["


def fast_rows_of_lines(lines: Iterable[bytes]) -> list[dict[str, object]] | None:
    rows: list[dict[str, object]] = []
    try:
        for line in lines:
            row = _fast_row(line)
            if type(row) is dict:
                rows.append(row)
            elif line.strip():
                return None
    except (ValueError, DuplicateKeyError):
        return None
    return rows


def _fast_row(line: bytes) -> object:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN and half a surrogate pair are JSON to ``json``
        return parse_json(line.decode()) if line.strip() else None
    return row if type(row) is not dict or _has_all_keys(row, line) else parse_json(line.decode())


def _has_all_keys(row: dict[str, Any], line: bytes) -> bool:
    """Return whether a row has at least as many keys as its line spells; orjson keeps the last of equal keys."""
    is_spaced = b" :" in line or b"\t:" in line
    spelt = len(_KEY_END.findall(line)) if is_spaced else line.count(b'":')
    return spelt <= len(row) or spelt <= _num_keys(row)


def _num_keys(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_num_keys, value.values()))
    return sum(map(_num_keys, value)) if isinstance(value, list) else 0


def _first_character(file: TextIOWrapper) -> str:
    first_line = next((line for line in file if line.strip()), "")
    file.seek(0)
    return first_line.lstrip()[:1]


def rows_of_lines(file: Iterable[str], path: str, literal: bool, first: int = 1) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(file, start=first):
        if not line.strip():
            continue
        try:
            row = parse_json(line, literal=literal)
        except DuplicateKeyError as error:
            raise DuplicateKeyError(f"{path}, line {number}: {error}") from None
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: expected one JSON object a line, or a list of them as the whole file "
                f"({error.msg}, column {error.colno})"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected one JSON object a line, found a {type(row).__name__}")
        rows.append(row)
    return rows


def rows_of_list(file: TextIOBase, path: str, literal: bool) -> list[dict[str, object]]:
    try:
        text = file.read()
        rows = parse_json(text, literal=literal)
    except DuplicateKeyError as error:
        raise DuplicateKeyError(f"{path}, item {_first_item_with_error(text)}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected a list of JSON objects, found a {type(row).__name__}")
    return cast(list[dict[str, object]], rows)


def _first_item_with_error(text: str) -> int:
    """Return the number of the first item of a JSON list, from 0, in which an object has a key twice."""
    decoder, number, place = json.JSONDecoder(object_pairs_hook=_object), 0, text.index("[") + 1
    try:
        while between := _BETWEEN_ITEMS.match(text, place):
            _, place = decoder.raw_decode(text, between.end())
            number += 1
    except DuplicateKeyError:
        pass
    return number
