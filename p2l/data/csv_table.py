"""Read CSV as text: pandas must not guess that ``0613`` is a number, or which fields belong to which column."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from io import TextIOWrapper
from pathlib import Path

import pandas as pd

from p2l.data.text_lists import parse_prompts
from p2l.errors import DataError

_SEPARATORS = (",", ";", "\t")
_LONGEST_FIELD = 2**31 - 1


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table separated by commas, semicolons or tabs; every column is text, and an empty cell is missing.

    The cells of ``prompt`` are lists if all of them spell lists of turns. Raises ``DataError``, with the line, if a
    row has more or fewer fields than the header, or two columns have one name.
    """
    try:
        encoding, separator, header = _header(path)
        frame = _read(path, encoding, separator)
        if frame.iloc[:, -1].isna().any():  # a gap, or a row that ends early
            _check_fields(path, encoding, separator, len(header))
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty (no header line)") from error
    except pd.errors.ParserError as error:
        _check_fields(path, encoding, separator, len(header))
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip()}") from error
    except (csv.Error, UnicodeError, BadGzipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip()}") from error
    frame.columns = frame.columns.str.strip()
    if "prompt" in frame.columns and "winner_model_a" not in frame.columns:  # arena-55k has JSON lists in any format
        frame["prompt"] = parse_prompts(frame["prompt"], "prompt", str(path))
    return frame


def _read(path: Path, encoding: str, separator: str) -> pd.DataFrame:
    # Only an empty cell is missing: "None", "NA" and "null" are prompts that people do send.
    return pd.read_csv(
        path,
        sep=separator,
        encoding=encoding,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        index_col=False,
        compression="gzip" if path.name.lower().endswith(".gz") else None,
    )


def _header(path: Path) -> tuple[str, str, list[str]]:
    """Return the encoding, the separator and the names of the columns; check the first row, which pandas does not."""
    encoding = _encoding(path)
    found = {separator: _first_rows(path, encoding, separator) for separator in _SEPARATORS}
    separator = "\t" if ".tsv" in path.suffixes else max(found, key=lambda key: len(found[key][0][1]))
    (_, header), *first = found[separator]
    for line, fields in first:
        _check_width(path, line, fields, len(header), separator)
    names = [name for name in header if name]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path} has two columns named {twice!r}; rename or remove one")
    return encoding, separator, header


def _encoding(path: Path) -> str:
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _first_rows(path: Path, encoding: str, separator: str) -> list[tuple[int, list[str]]]:
    rows = []
    for row in _records(path, encoding, separator):
        rows.append(row)
        if len(rows) == 2:
            break
    if not rows:
        raise pd.errors.EmptyDataError
    return rows


def _records(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of the line that it starts at."""
    with _open(path, encoding) as file, _long_fields():
        reader = csv.reader(file, delimiter=separator)
        start = 1
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield start, fields
            start = reader.line_num + 1


def _open(path: Path, encoding: str) -> TextIOWrapper:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_fields(path: Path, encoding: str, separator: str, width: int) -> None:
    for line, fields in _records(path, encoding, separator):
        _check_width(path, line, fields, width, separator)


def _check_width(path: Path, line: int, fields: list[str], width: int, separator: str) -> None:
    if len(fields) == width:
        return
    shown = separator.join(fields)[:100]
    name = {",": "comma", ";": "semicolon", "\t": "tab"}[separator]
    advice = (
        f'a text that holds a {name} needs quotes ("a{separator} b"), and a {name} at the end of a line makes a field'
        if len(fields) > width
        else "write an empty field for a missing value"
    )
    raise DataError(
        f"{path} cannot be read as CSV: line {line} has {len(fields)} fields, but the header has {width}: {shown!r}; "
        f"{advice}"
    )
