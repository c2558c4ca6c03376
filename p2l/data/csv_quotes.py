"""Find quotes in CSV that do not enclose a field: readers join such a text to what follows, or drop the quotes."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from p2l.data.gzip_files import open_bytes, open_text, read_bytes
from p2l.errors import DataError

_BLOCK_BYTES = 2**24
_RETURN_AT_START = re.compile(r"\n[ \t]*\r(?!\n)")
_LONGEST_FIELD = 2**31 - 1


def check_quotes(path: Path, encoding: str, separator: str) -> None:
    """Raise DataError, with the line, if a text goes on after its closing quote, or a quote never closes.

    A quote within a text without quotes around it is a character of that text. Raises DataError too if a space stands
    before a quoted text, whose quotes would become a part of it.
    """
    if encoding == "utf-8-sig" and _each_encloses(path, separator):
        return
    with open_text(path, encoding, newline="") as file, long_fields():
        reader, start = csv.reader(file, delimiter=separator, strict=True), 1
        is_spaced = False
        try:
            for fields in reader:
                is_spaced = is_spaced or any(map(_looks_spaced, fields))
                start = reader.line_num + 1
        except csv.Error as error:
            why = "it never closes" if "end of data" in str(error) else "other text follows its end"
            raise DataError(
                f"{path} cannot be read as CSV: the row at line {start} has a quoted text that is not one: {why} "
                f'(line {reader.line_num}); write a quote within quotes twice: "say ""hi"""'
            ) from None
    if is_spaced:
        _check_spaces(path, encoding, separator)


def check_returns(path: Path, encoding: str) -> None:
    """Raise DataError, with the line, if a row starts with a carriage return without quotes, or blanks and one: readers
    drop them.
    """
    data = read_bytes(path)
    if b"\r" not in data:
        return
    text, quotes, start = data.decode(encoding), 0, 0
    for found in _RETURN_AT_START.finditer(text):
        quotes, start = quotes + text.count('"', start, found.start()), found.start()
        if quotes % 2 == 0:
            raise DataError(
                f"{path} cannot be read as CSV: line {text.count(chr(10), 0, start) + 2} starts with a carriage return "
                "(\\r), which would be lost; put a text with line breaks in quotes, and end lines with \\n or \\r\\n"
            )


def _looks_spaced(field: str) -> bool:
    return field.startswith(" ") and field.lstrip(" ").startswith('"') and field.rstrip().endswith('"')


def _check_spaces(path: Path, encoding: str, separator: str) -> None:
    """Raise DataError, with the line, if a field is a space and a quoted text."""
    with open_text(path, encoding, newline="") as file, open_text(path, encoding, newline="") as again, long_fields():
        reader, start = csv.reader(file, delimiter=separator), 1
        unquoted = csv.reader(again, delimiter=separator, skipinitialspace=True)
        for fields, without in zip(reader, unquoted, strict=False):
            for field, text in zip(fields, without, strict=False):
                if _looks_spaced(field) and text not in (field, field.lstrip(" ")):
                    raise DataError(
                        f"{path} cannot be read as CSV: the row at line {start} has a space before a quoted text, "
                        f"{field[:80]!r}, so that the quotes would be a part of it; remove the space"
                    )
            start = reader.line_num + 1


@contextmanager
def long_fields() -> Iterator[None]:
    """Let the csv module read fields of any length."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _each_encloses(path: Path, separator: str) -> bool:
    """Return whether every quote stands at an end of a field, or beside another quote, in turn opening and closing."""
    at_end = np.zeros(256, dtype=bool)
    at_end[list(f'{separator}\r\n"'.encode())] = True
    before, is_open = b"\n", 0
    with open_bytes(path) as file:
        block = file.read(_BLOCK_BYTES)
        while block:
            following = file.read(_BLOCK_BYTES)
            seen = np.frombuffer(before + block + (following[:1] or b"\n"), dtype=np.uint8)
            quotes = np.flatnonzero(seen[1:-1] == ord('"')) + 1
            opens = (np.arange(len(quotes)) + is_open) % 2 == 0
            if not at_end[seen[np.where(opens, quotes - 1, quotes + 1)]].all():
                return False
            before, is_open, block = block[-1:], (is_open + len(quotes)) % 2, following
    return not is_open
