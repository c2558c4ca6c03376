"""Write predictions beside the columns of their table: what was read is what is written, or an error says so."""

import csv
import json
import math
from collections.abc import Iterable
from io import StringIO, TextIOBase
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from p2l.errors import DataError
from p2l.json_output import json_value, write_json_table

FORMATS = (".parquet", ".json", ".jsonl", ".csv")
_NOT_WRITABLE = (pa.ArrowException, OverflowError, RecursionError, TypeError, ValueError)


def check_columns_fit(frame: pd.DataFrame, output: Path, source: str) -> None:
    """Raise DataError, naming ``source`` and the column, if the file ``output`` could not hold a column exactly."""
    for name, column in frame.items():
        if pd.api.types.is_string_dtype(column.dtype) and column.dtype != object:
            continue
        try:
            if output.suffix == ".parquet":
                table = pa.Table.from_pandas(column.to_frame(), preserve_index=False)
                pa.parquet.write_table(table, pa.BufferOutputStream())
            else:
                if output.suffix != ".csv":
                    _check_finite(column.tolist())
                _write_text(column.to_frame(), StringIO(), output.suffix)
        except _NOT_WRITABLE as error:
            reason = str(error) if isinstance(error, UnicodeError) else " ".join(map(str, error.args))
            other = ".jsonl" if output.suffix == ".parquet" else ".parquet"
            raise DataError(
                f"{source}, column {name}, does not fit a {output.suffix.removeprefix('.')} file: {reason[:200]}; give "
                f"output=<file>{other}, or leave out the column"
            ) from None


def write_table(frame: pd.DataFrame, part: Path, suffix: str) -> None:
    """Write a table to a new file in the format of ``suffix``; lists and dicts in CSV are JSON."""
    if suffix == ".parquet":
        frame.to_parquet(part, index=False)
        return
    with part.open("x", encoding="utf-8", newline="") as file:
        _write_text(frame, file, suffix)


def _write_text(frame: pd.DataFrame, file: TextIO | TextIOBase, suffix: str) -> None:
    if suffix != ".csv":
        write_json_table(frame, file, lines=suffix == ".jsonl")
        return
    cells = {name: _csv_cells(column) for name, column in frame.reset_index(drop=True).items()}
    # pandas quotes no lone carriage return, which ends a line
    quoting = csv.QUOTE_NONNUMERIC if any(map(_has_carriage_return, cells.values())) else csv.QUOTE_MINIMAL
    pd.DataFrame(cells).to_csv(file, index=False, quoting=quoting)


def _csv_cells(column: pd.Series) -> pd.Series:
    """Return a column of objects, in which pandas would make integers beside a gap floats; others as they are."""
    if column.dtype == object or isinstance(column.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        return pd.Series([_csv_cell(value) for value in column.tolist()], dtype=object)
    return column


def _has_carriage_return(column: pd.Series) -> bool:
    return column.dtype == object and any(isinstance(value, str) and "\r" in value for value in column)


def _csv_cell(value: object) -> object:
    """Return lists and dicts as JSON, bytes as text, and anything else as it is."""
    if isinstance(value, (list, tuple, dict, np.ndarray)):
        return json.dumps(json_value(value), ensure_ascii=False)
    return json_value(value) if isinstance(value, (str, bytes)) else value


def _check_finite(values: Iterable[object]) -> None:
    """Raise ValueError for infinity, which JSON cannot hold; NaN is a missing value."""
    for value in values:
        if isinstance(value, (float, np.floating)) and math.isinf(value):
            raise ValueError(f"JSON has no {value}")
        if isinstance(value, (list, tuple, np.ndarray)):
            _check_finite(value)
        elif isinstance(value, dict):
            _check_finite(value.values())
