"""Read CSV as text: pandas must not guess that ``0613`` is a number, or which fields belong to which column."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from p2l.data.csv_quotes import check_quotes, check_returns, long_fields
from p2l.data.gzip_files import GZIP_ERRORS, is_gzip, open_bytes, open_text, read_bytes
from p2l.data.table_files import check_distinct_columns
from p2l.errors import DataError
from p2l.unicode_text import encoding_of

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_OTHER_SEPARATORS = ("^", ":", "~", "#", "\x01", "\x1e", "\x1f")
_BLOCK_BYTES = 2**24
_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the first line of some files, which Excel obeys
_LAST_CELL = "p2l: end of the table"


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table separated by commas, semicolons, tabs or vertical bars.

    Every column is text, and an empty cell is missing. A first line such as ``sep=;`` names the separator. Raises
    ``DataError``, with the line, if a row has more or fewer fields than the header, or two columns have one name.
    """
    try:
        encoding, separator, header = _header(path)
        check_returns(path, encoding)
        frame = _read_whole_rows(path, encoding, separator, header)
        if frame is None:
            frame = _read(path, encoding, separator)
            if frame.iloc[:, -1].isna().any():  # a gap, or a row that ends early
                _check_fields(path, encoding, separator, len(header))
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty (no header line)") from error
    except pd.errors.ParserError as error:
        _check_fields(path, encoding, separator, len(header))
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip()}") from error
    except UnicodeError as error:
        raise DataError(
            f"{path} cannot be read as CSV: it is neither UTF-8 nor UTF-16 or -32 ({error}); save it as UTF-8"
        ) from error
    except (csv.Error, *GZIP_ERRORS) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip()}") from error
    frame.columns = frame.columns.str.strip()
    return frame


def _read_whole_rows(path: Path, encoding: str, separator: str, header: Sequence[str]) -> pd.DataFrame | None:
    """Read by Arrow, in a third of the time; None if the file needs the reader that knows more, or its errors."""
    if encoding != "utf-8-sig" or len(header) < 2 or not all(header) or _named_separator(path, encoding):
        return None
    last = separator.join([_LAST_CELL] * len(header))  # Arrow accepts an open quote, which would swallow this row
    texts = dict.fromkeys(header, pa.large_string())
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(read_bytes(path) + f"\n{last}\n".encode()),
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=True),
        )
    except pa.ArrowInvalid:
        return None
    rows = table.num_rows - 1
    if table.column_names != list(header) or any(str(column[rows]) != _LAST_CELL for column in table.columns):
        return None
    return table.slice(0, rows).to_pandas()


def _read(path: Path, encoding: str, separator: str) -> pd.DataFrame:
    # Only an empty cell is missing: "None", "NA" and "null" are prompts that people do send.
    return pd.read_csv(
        path,
        sep=separator,
        encoding=encoding,
        skiprows=1 if _named_separator(path, encoding) else 0,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        index_col=False,
        compression="gzip" if is_gzip(path) else None,
    )


def _header(path: Path) -> tuple[str, str, list[str]]:
    """Return the encoding, the separator and the names of the columns; check quotes, and the first row, which pandas
    does not."""
    with open_bytes(path) as file:
        encoding = encoding_of(file.read(4))
    separator = _named_separator(path, encoding) or ("\t" if ".tsv" in path.suffixes else None)
    found = {key: _first_rows(path, encoding, key) for key in ([separator] if separator else _SEPARATORS)}
    separator = separator or max(found, key=lambda key: len(found[key][0][1]))
    (_, header), *first = found[separator]
    if len(header) == 1:
        _check_other_separators(path, encoding)
    check_quotes(path, encoding, separator)
    for line, fields in first:
        _check_width(path, line, fields, len(header), separator)
    names = [name.strip() for name in header if name.strip()]
    check_distinct_columns(str(path), names)
    return encoding, separator, header


def _check_other_separators(path: Path, encoding: str) -> None:
    """Raise DataError if the first rows of a table that seems to have one column have several by another separator."""
    for separator in _OTHER_SEPARATORS:
        (_, header), *first = _first_rows(path, encoding, separator)
        if len(header) > 2 and first and all(len(fields) == len(header) for _, fields in first) and all(header):
            raise DataError(
                f"{path} seems to be separated by {separator!r}: {separator.join(header)[:100]!r}; expected commas, "
                f"semicolons, tabs or vertical bars: convert it (pandas: read_csv(path, sep={separator!r}).to_csv(...))"
            )


def _named_separator(path: Path, encoding: str) -> str | None:
    with open_text(path, encoding, newline="") as file:
        return _read_named_separator(file)


def _read_named_separator(file: TextIOWrapper) -> str | None:
    """Return the separator that the first line names, and go to the next line; None, at the start, if it names none."""
    named = _NAMED_SEPARATOR.fullmatch(file.readline().rstrip("\r\n"))
    if named is None:
        file.seek(0)
    return named and named[1]


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
    with open_text(path, encoding, newline="") as file, long_fields():
        first = start = 2 if _read_named_separator(file) else 1
        reader = csv.reader(file, delimiter=separator)
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield start, fields
            start = reader.line_num + first


def _check_fields(path: Path, encoding: str, separator: str, width: int) -> None:
    for line, fields in _records(path, encoding, separator):
        _check_width(path, line, fields, width, separator)


def _check_width(path: Path, line: int, fields: list[str], width: int, separator: str) -> None:
    if len(fields) == width:
        return
    shown = separator.join(fields)[:100]
    name = _SEPARATORS.get(separator, repr(separator))
    advice = (
        f'a text that holds a {name} needs quotes ("a{separator} b"), and a {name} at the end of a line makes a field'
        if len(fields) > width
        else "write an empty field for a missing value"
    )
    raise DataError(
        f"{path} cannot be read as CSV: line {line} has {len(fields)} fields, but the header has {width}: {shown!r}; "
        f"{advice}"
    )
