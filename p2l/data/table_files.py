"""The files of a table, on a disk or in an object store (fsspec), and what they must have in common."""

import gzip
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import has_magic
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from p2l.data.gzip_files import is_gzip, open_bytes
from p2l.errors import DataError

PARQUET = (".parquet",)
JSON_LINES_IN_FOLDERS = (".jsonl", ".jsonl.gz")
JSON_LINES = (*JSON_LINES_IN_FOLDERS, ".json", ".json.gz")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


@dataclass(frozen=True)
class TableFile:
    """A file of a table, on a disk or in an object store."""

    path: str
    filesystem: fsspec.AbstractFileSystem

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def url(self) -> str:
        """The file as any process names it: its path on a disk, or its URL."""
        return self.path if self.is_local else str(self.filesystem.unstrip_protocol(self.path))

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def is_parquet(self) -> bool:
        return self.is_kind(PARQUET)

    def is_kind(self, suffixes: tuple[str, ...]) -> bool:
        return self.name.lower().endswith(suffixes)

    @cached_property
    def size(self) -> int:
        return int(self.filesystem.size(self.path))

    def open(self) -> BufferedIOBase:
        """Open the content, decompressed if the name ends in .gz."""
        if self.is_local:
            return open_bytes(Path(self.path))
        file = self.filesystem.open(self.path, "rb")
        file = file if isinstance(file, BufferedIOBase) else BufferedReader(file)
        return gzip.open(file) if is_gzip(Path(self.path)) else file


def is_pattern(source: str) -> bool:
    """Whether a source names several files by a glob pattern, or files of an object store."""
    return "://" in source or (has_magic(source) and not Path(source).expanduser().exists())


def check_same_columns(source: str, columns: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Raise ``DataError`` if parquet files, given by their names and columns, are not parts of one table."""
    first, names = columns[0]
    for file, other in columns[1:]:
        if set(other) != set(names):
            raise DataError(
                f"the parquet files of {source} are not parts of one table: {first} has the columns {list(names)} and "
                f"{file} has {list(other)}; name one file instead"
            )


def check_distinct_columns(source: str, names: Sequence[object]) -> None:
    """Raise ``DataError`` if a table has two columns of one name."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{source} has two columns named {twice[0]!r}; rename or remove one")


def total_size(files: Sequence[TableFile]) -> int:
    """Return the bytes of the files as they are stored."""
    return sum(file.size for file in files)
