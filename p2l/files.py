"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; what is there takes the place of ``path`` at the end, and an error leaves no trace of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def write_whole(path: str | Path) -> Iterator[TextIO]:
    """A text file to write; it takes its place only when all is written, and an error leaves no trace of it."""
    with whole_file(path) as part, part.open("x", encoding="utf-8") as file:
        yield file
