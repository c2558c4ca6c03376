"""Write files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


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
def write_whole(path: str | Path) -> Iterator[TextIO]:
    """Yield a text file to write; it replaces ``path`` at the end, and is deleted after an error."""
    with whole_file(path) as part, part.open("x", encoding="utf-8") as file:
        yield file
