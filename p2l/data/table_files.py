"""Find the files of a table: one file, a folder of shards, a glob pattern, or these in an object store (fsspec)."""

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


def find_files(source: str) -> list[TableFile]:
    """Return the parquet or JSON-lines files of a path, folder, pattern or URL, in the order of their paths.

    A folder is searched with those below it for .parquet, or else for .jsonl files. Empty if there are none.
    Raises ``DataError`` if the package of an object store is missing or the store refuses, and for a pattern of tables
    of several kinds.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(source if "://" in source else str(Path(source).expanduser()))
        is_folder, paths = filesystem.isdir(path), _paths(filesystem, path)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"{source} cannot be listed: {error}") from error
    files = [TableFile(path, filesystem) for path in sorted(paths, key=PurePosixPath)]
    kinds = (PARQUET, JSON_LINES_IN_FOLDERS) if is_folder else (PARQUET, JSON_LINES, CSV)
    found = {kind: of_kind for kind in kinds if (of_kind := [file for file in files if file.is_kind(kind)])}
    if len(found) > 1 and not is_folder:
        names = ", ".join(of_kind[0].name for of_kind in found.values())
        raise DataError(f"{source} matches tables of several kinds ({names}); give a pattern of one kind")
    return next((of_kind for kind, of_kind in found.items() if kind is not CSV), [])


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


def _paths(filesystem: fsspec.AbstractFileSystem, path: str) -> list[str]:
    if filesystem.isdir(path):
        return [str(name) for name in filesystem.find(path)]
    if filesystem.isfile(path):
        return [path]
    found = filesystem.glob(path) if has_magic(path) else []
    return [str(name) for name in found if filesystem.isfile(name)]
