"""Find the files of a table: one file, a folder of shards, a glob pattern, or these in an object store (fsspec)."""

import logging
import os
import re
from collections.abc import Sequence
from glob import has_magic
from itertools import takewhile
from pathlib import Path, PurePosixPath

import fsspec

from p2l.data.table_files import CSV, JSON_LINES, JSON_LINES_IN_FOLDERS, PARQUET, TableFile
from p2l.errors import DataError

log = logging.getLogger(__name__)

_SPLITS = ("train", "validation", "valid", "val", "dev", "test", "eval")
_SHOWN = 3


def find_files(source: str) -> list[TableFile]:
    """Return the parquet or JSON-lines files of a path, folder, pattern or URL, in the order of their paths.

    A folder is searched with those below it for .parquet or .jsonl files; hidden ones are left out, with a warning.
    Empty if there are none. Raises ``DataError`` if the package of an object store is missing or the store refuses, for
    tables of several kinds, and as ``_visible_files`` does.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(source if "://" in source else str(Path(source).expanduser()))
        is_folder, paths = filesystem.isdir(path), _paths(filesystem, path)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"{source} cannot be listed: {error}") from error
    files = [TableFile(path, filesystem) for path in sorted(paths, key=PurePosixPath)]
    kinds = (PARQUET, JSON_LINES_IN_FOLDERS if is_folder else JSON_LINES, CSV)
    tables = [file for file in files if file.is_kind(PARQUET + JSON_LINES + CSV)]
    if is_folder or has_magic(path):
        tables = _visible_files(source, path if is_folder else _before_magic(path), tables)
    found = {kind: of_kind for kind in kinds if (of_kind := [file for file in tables if file.is_kind(kind)])}
    if len(found) > 1:
        names = ", ".join(of_kind[0].name for of_kind in found.values())
        verb = "holds" if is_folder else "matches"
        raise DataError(f"{source} {verb} tables of several kinds ({names}); give a pattern of one kind")
    chosen = next((of_kind for kind, of_kind in found.items() if kind is not CSV), [])
    if chosen:
        others = [file.path for file in tables if file not in chosen]
        _warn_unread(source, ".json files of a folder may be no tables", others)
    return chosen


def _visible_files(source: str, root: str, files: Sequence[TableFile]) -> list[TableFile]:
    """Return the files below ``root`` that are not hidden, nor in a hidden folder; warn of the others.

    As in Spark and Arrow, a folder whose name starts with a dot or ``_`` is hidden: ``.ipynb_checkpoints``,
    ``_temporary``. Raises ``DataError`` for what files of rows do not hold: the columns that names of Hive folders are,
    and the deleted files of a Delta table; and for a file beside its compressed copy.
    """
    below = {file.path: PurePosixPath(os.path.relpath(file.path, root)).parts for file in files}
    for path, (*folders, _) in below.items():
        if "_delta_log" in folders:
            raise DataError(f"{source} is a Delta table, whose files may hold deleted rows; export it as parquet")
        if column := next((name for name in folders if re.fullmatch(r"[^=]+=.*", name)), None):
            raise DataError(
                f"{source}: the folder {column!r} of {path} holds the value of a column (Hive partitions), which the "
                "files lack; write one table: pandas.read_parquet(folder).to_parquet('votes.parquet')"
            )
    hidden = {path for path, parts in below.items() if any(map(_is_hidden, parts[:-1])) or parts[-1].startswith(".")}
    _warn_unread(source, "hidden", sorted(hidden))
    found = [file for file in files if file.path not in hidden]
    names = {file.path for file in found}
    if twice := next((path for path in names if f"{path}.gz" in names), None):
        raise DataError(f"{source} holds {twice} and its compressed copy {twice}.gz; remove one of them")
    return found


def _warn_unread(source: str, why: str, paths: Sequence[str]) -> None:
    """Warn of files that are not read."""
    if paths:
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        log.warning("%s: not read, because %s: %s%s", source, why, ", ".join(paths[:_SHOWN]), more)


def files_of_split(files: Sequence[TableFile], source: str, split: str) -> list[TableFile]:
    """Return the files whose names, or folders below the common one, name the split; all if none names a split.

    Raises ``DataError`` if no file is of the split, or only some files name one.
    """
    common = os.path.commonpath([os.path.dirname(file.path) for file in files])
    named = [_split_of(PurePosixPath(os.path.relpath(file.path, common))) for file in files]
    splits = sorted({name for name in named if name})
    if not splits:
        return list(files)
    if None in named:
        odd, other = files[named.index(None)], next(file for file, name in zip(files, named, strict=True) if name)
        raise DataError(
            f"{source}: {other.path} names a split ({', '.join(splits)}), and {odd.path} does not: is it a part of the "
            f"split {split!r}? Rename it (votes_{split}.parquet), or give the path of one file, or a narrower pattern"
        )
    if split not in splits:
        raise DataError(f"{source} has no split {split!r}; it has {splits}")
    chosen = [file for file, name in zip(files, named, strict=True) if name == split]
    if len(chosen) < len(files):
        log.info("%s: the split %r is %s of %s files", source, split, f"{len(chosen):,}", f"{len(files):,}")
    return chosen


def _is_hidden(folder: str) -> bool:
    return folder.startswith((".", "_")) and folder != ".."


def _split_of(path: PurePosixPath) -> str | None:
    """Return the last split that a path names as a word, its own name before its folders."""
    for part in (path.name.split(".parquet")[0].split(".json")[0], *reversed(path.parts[:-1])):
        words = [word.rstrip("0123456789") for word in re.split(r"[^a-z0-9]+", part.lower())]
        if found := [word for word in words if word in _SPLITS]:
            return found[-1]
    return None


def _before_magic(path: str) -> str:
    """Return the folder before the first sign of a pattern."""
    parts = PurePosixPath(path).parts
    return str(PurePosixPath(*takewhile(lambda part: not has_magic(part), parts)))


def _paths(filesystem: fsspec.AbstractFileSystem, path: str) -> list[str]:
    if filesystem.isdir(path):
        return [str(name) for name in filesystem.find(path)]
    if filesystem.isfile(path):
        return [path]
    found = filesystem.glob(path) if has_magic(path) else []
    return [str(name) for name in found if filesystem.isfile(name)]
