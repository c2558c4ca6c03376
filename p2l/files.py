"""Write files and folders that appear whole or not at all; find out beforehand that a place cannot be written to."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from p2l.errors import ConfigError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces ``path`` at the end, and is deleted after an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def write_whole(path: str | Path, *, private: bool = False) -> Iterator[TextIO]:
    """Yield a text file to write; it replaces ``path`` at the end, and is deleted after an error.

    ``private``: only its owner may read it.
    """
    opener = partial(os.open, mode=0o600 if private else 0o666)
    with whole_file(path) as part, open(part, "x", encoding="utf-8", opener=opener) as file:
        yield file


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it becomes ``path`` at the end, unless another process made that first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    part.mkdir()
    try:
        yield part
        try:
            os.rename(part, path)
        except OSError:
            if not path.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def cache_folder() -> Path:
    """Return the folder of what p2l can make again: $P2L_CACHE, or p2l in the user's cache folder."""
    own = os.environ.get("P2L_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "p2l"


def check_folder_to_write(option: str, folder: str | Path) -> None:
    """Raise ConfigError if no files can be written to ``folder``, which may not exist yet; nothing is left behind."""
    folder = Path(folder).absolute()
    _check_place(f"{option}={folder}", next(p for p in (folder, *folder.parents) if p.exists() or p.is_symlink()))


def check_file_to_write(option: str, file: str | Path) -> None:
    """Raise ConfigError if ``file`` cannot be written or replaced."""
    file = Path(file).absolute()
    if file.is_dir():
        raise ConfigError(f"{option}={file}: it is a folder; give the name of a file")
    _check_place(f"{option}={file}", next(p for p in file.parents if p.exists() or p.is_symlink()))


def _check_place(given: str, place: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        why = "it is not a folder" if not place.is_dir() else error.strerror
    raise ConfigError(f"{given}: cannot write to {place}: {why}")
