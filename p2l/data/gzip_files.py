"""Open files that are compressed if their name ends in .gz."""

import gzip
import zlib
from io import BufferedIOBase, TextIOWrapper
from pathlib import Path

GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)  # of a damaged file


def is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def open_bytes(path: Path) -> BufferedIOBase:
    return gzip.open(path) if is_gzip(path) else path.open("rb")


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIOWrapper:
    """Open with ``newline`` as ``open`` takes it: None translates line ends, "" keeps them."""
    if is_gzip(path):
        return gzip.open(path, "rt", encoding=encoding, newline=newline)
    return path.open(encoding=encoding, newline=newline)


def read_bytes(path: Path) -> bytes:
    with open_bytes(path) as file:
        return file.read()
