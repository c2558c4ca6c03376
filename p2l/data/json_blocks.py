"""Read JSON lines in blocks: each is read as a file of its own, by ``p2l.data.json_rows``."""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BufferedIOBase, StringIO

import pandas as pd

from p2l.data.gzip_files import GZIP_ERRORS
from p2l.data.json_rows import (
    MINUS_ZERO,
    RowsOf,
    exact_frame,
    fast_rows_of_lines,
    rows_of_lines,
    rows_of_list,
    starts_a_list,
    unreadable,
)

_KEYS_BYTES = 2**24


def json_blocks(file: BufferedIOBase, name: str, text_columns: Sequence[str], size: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of JSON lines, about ``size`` bytes at a time; a file that holds one list is one table."""
    for rows_of, content in _blocks(file, name, size):
        yield exact_frame(rows_of, partial(_has_minus_zero, content), text_columns)


def json_columns(file: BufferedIOBase, name: str) -> list[str]:
    """Return the keys of all rows, in order of appearance."""
    names: dict[str, None] = {}
    for rows_of, _ in _blocks(file, name, _KEYS_BYTES):
        for row in rows_of(fast=True):
            if not row.keys() <= names.keys():
                names |= dict.fromkeys(row)
    return list(names)


def _blocks(file: BufferedIOBase, name: str, size: int) -> Iterator[tuple[RowsOf, list[bytes]]]:
    """Yield for each block of lines a function that parses it, and its content."""
    try:
        is_list = starts_a_list(file.read(64), name)
        file.seek(0)
        if is_list:
            content = file.read()
            yield partial(_parse_list, content, name), [content]
            return
        number = 1
        while lines := file.readlines(size):
            if number == 1:
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
            yield partial(_parse_lines, lines, name, number), lines
            number += len(lines)
    except GZIP_ERRORS as error:
        raise unreadable(name, error) from error


def _has_minus_zero(content: Iterable[bytes]) -> bool:
    return any(MINUS_ZERO.search(part) for part in content)


def _parse_list(content: bytes, name: str, *, fast: bool = False, literal: bool = False) -> list[dict[str, object]]:
    return rows_of_list(StringIO(_decoded(content, name).removeprefix("\ufeff")), name, literal)


def _parse_lines(
    lines: list[bytes], name: str, first: int, *, fast: bool = False, literal: bool = False
) -> list[dict[str, object]]:
    if fast and (rows := fast_rows_of_lines(lines)) is not None:
        return rows
    return rows_of_lines(StringIO(_decoded(b"".join(lines), name), newline=None), name, literal, first)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise unreadable(name, error) from error
