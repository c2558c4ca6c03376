"""Read a table of parquet or JSON-lines files in blocks of rows, so that memory does not grow with the table."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from p2l.data.json_blocks import json_blocks, json_columns
from p2l.data.table_files import TableFile, check_distinct_columns, check_same_columns, total_size
from p2l.errors import DataError

BLOCK_ROWS = 1 << 20
LARGE_ROWS, LARGE_BYTES = 2_000_000, 500_000_000
_BLOCK_BYTES = 1 << 24
JSON_BYTES = 1 << 24
Item = TypeVar("Item")
Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]  # as ``map`` of one sequence


@dataclass(frozen=True)
class TableBlock:
    """Rows of a table that follow each other in one file; ``first_row`` is the position of the first, from 0."""

    frame: pd.DataFrame
    file: str
    first_row: int


@dataclass(frozen=True)
class BlockedTable:
    """A table in parquet or JSON-lines files, which ``blocks`` reads in the order of ``files``.

    Attributes:
        source: how messages name it.
        files: at least one, all of one kind.
        text: columns of names, see ``p2l.data.readers.TEXT_COLUMNS``.
        block_rows, json_bytes: most rows of a block of a parquet file, bytes of one of JSON lines.
        names: of the columns, if they are known; a part of a table has those of the whole.
    """

    source: str
    files: tuple[TableFile, ...]
    text: tuple[str, ...] = ()
    block_rows: int = BLOCK_ROWS
    json_bytes: int = JSON_BYTES
    names: tuple[str, ...] | None = None

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns; JSON lines are read once for them, because every line may bring a new one.

        Raises ``DataError`` if parquet files have different columns, or two of one name.
        """
        if self.names is not None:
            return list(self.names)
        if self._is_parquet:
            columns = [(file.name, _parquet_columns(file)) for file in self.files]
            check_distinct_columns(columns[0][0], columns[0][1])
            check_same_columns(self.source, columns)
            return columns[0][1]
        names: dict[str, None] = {}
        for file in self.files:
            with file.open() as opened:
                names |= dict.fromkeys(json_columns(opened, file.path))
        return list(names)

    def parts(self) -> list["BlockedTable"]:
        """Return a table for each file."""
        return [replace(self, files=(file,)) for file in self.files]

    @cached_property
    def rows(self) -> int | None:
        """Number of rows, from the metadata of parquet files; None for JSON lines."""
        return sum(_open_parquet(file).metadata.num_rows for file in self.files) if self._is_parquet else None

    @property
    def is_large(self) -> bool:
        """Whether reading the table whole would need gigabytes of memory."""
        return (self.rows or 0) >= LARGE_ROWS or total_size(self.files) >= LARGE_BYTES

    def blocks(self, columns: Sequence[str] | None = None, *, coded: Sequence[str] = ()) -> Iterator[TableBlock]:
        """Yield all rows, with some of the columns; the next block is read while the last one is used.

        ``coded`` columns of text in parquet files come as categories, which need a few bytes a row.
        """
        names = self.columns if columns is None else [name for name in self.columns if name in set(columns)]
        return _ahead(self._blocks(names, coded))

    def _blocks(self, names: list[str], coded: Sequence[str]) -> Iterator[TableBlock]:
        for file in self.files:
            first_row = 0
            read = _parquet_frames(file, names, coded, self.block_rows) if self._is_parquet else self._json(file)
            for frame in read:
                if len(frame):
                    yield TableBlock(frame.reindex(columns=names), file.name, first_row)
                first_row += len(frame)

    def _json(self, file: TableFile) -> Iterator[pd.DataFrame]:
        with file.open() as opened:
            yield from json_blocks(opened, file.path, self.text, self.json_bytes)

    @property
    def _is_parquet(self) -> bool:
        return self.files[0].is_parquet


def with_columns(table: BlockedTable, each: Each) -> BlockedTable:
    """Find the columns of a table, through ``each`` in JSON lines, which must be read for them."""
    found = [table.columns] if table.files[0].is_parquet else each(_columns_of, table.parts())
    return replace(table, names=tuple(dict.fromkeys(chain.from_iterable(found))))


def _columns_of(table: BlockedTable) -> list[str]:
    return table.columns


def _parquet_columns(file: TableFile) -> list[str]:
    """Return the names of the columns without the index that pandas stored."""
    opened = _open_parquet(file)
    with parquet_errors(file.path):
        schema = opened.schema_arrow
        metadata = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    index = {name for name in metadata.get("index_columns", ()) if isinstance(name, str)}
    return [name for name in schema.names if name not in index]


def _parquet_frames(file: TableFile, names: list[str], coded: Sequence[str], block_rows: int) -> Iterator[pd.DataFrame]:
    opened = _open_parquet(file)
    texts = [name for name in coded if name in names and _is_text(opened.schema_arrow.field(name).type)]
    opened = _open_parquet(file, texts)
    with parquet_errors(file.path):
        rows = min(block_rows, _rows_in(_BLOCK_BYTES, opened.metadata, set(names)))
        for batch in opened.iter_batches(batch_size=rows, columns=names):
            yield batch.to_pandas(integer_object_nulls=True, ignore_metadata=True)


def _open_parquet(file: TableFile, coded: Sequence[str] = ()) -> pyarrow.parquet.ParquetFile:
    if not file.size:
        raise DataError(f"{file.path} is empty (0 bytes)")
    with parquet_errors(file.path):
        source = file.path if file.is_local else file.open()
        return pyarrow.parquet.ParquetFile(source, read_dictionary=list(coded), pre_buffer=False)


@contextmanager
def parquet_errors(path: str | Path) -> Iterator[None]:
    """Raise the errors of a damaged file as ``DataError``; names that are not text are ValueErrors."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


def _rows_in(size: int, metadata: pyarrow.parquet.FileMetaData, names: Collection[str]) -> int:
    """Return the rows whose values of some columns fill about ``size`` bytes as they are encoded."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    chunks = (group.column(column) for group in groups for column in range(group.num_columns))
    used = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)
    return max(1, size * metadata.num_rows // max(1, used))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; a thread computes the next one meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        end = object()
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def concatenated(table: BlockedTable) -> pd.DataFrame:
    """Return all rows as one table in memory."""
    frames = [block.frame for block in table.blocks()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=np.array(table.columns))
