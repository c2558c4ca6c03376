"""What is doubtful in the cells of a column of prompts: texts that may be lists, parts of chats that are no text."""

from collections.abc import Sequence

import pandas as pd

from p2l.data.cell_doubts import CellDoubts, DoubtfulCells
from p2l.errors import DataError

_MOSTLY = 0.5  # of the texts
ADVICE = 'write each prompt as a list of texts, in CSV as JSON: ["first turn", "second"]'


def add_texts(
    doubts: CellDoubts,
    where: str,
    column: pd.Series,
    present: int,
    *,
    lists: Sequence[int] = (),
    brackets: Sequence[int] = (),
    quotes: Sequence[int] = (),
) -> None:
    """Add texts that may be lists, or quoted once too often.

    Of the ``present`` texts of a column these rows spell lists of turns, or stand whole in brackets or in quotes.
    """
    text = column.iloc.__getitem__
    doubts.add(_lists_as_text, where, lists, present, text)
    doubts.add(_all_in_brackets, where, brackets, present, text)
    doubts.add(_in_brackets, where, [row for row in brackets if "," in str(text(row))], present, text)
    doubts.add(_in_quotes, where, quotes, present, text)


def _lists_as_text(cells: DoubtfulCells) -> str:
    return (
        f"{cells.where}: {cells.counted} cells look like lists (row {cells.place} first), such as {cells.quoted}, and "
        f"are read as text, as the others are; for turns {ADVICE}"
    )


def _all_in_brackets(cells: DoubtfulCells) -> str | None:
    if cells.count < cells.of or cells.is_one_value:
        return None
    raise DataError(
        f"{cells.where}: all {cells.of:,} cells stand in brackets, such as {cells.quoted}, as Spark ([a, b]) and "
        "PostgreSQL ({a,b}) write lists; without quotes no comma can be told from those of the texts: "
        f'{ADVICE}; a prompt in brackets as ["[a]"]'
    )


def _in_brackets(cells: DoubtfulCells) -> str:
    return (
        f"{cells.where}: {cells.counted} cells stand in brackets (row {cells.place} first), such as {cells.quoted}, "
        f"and are read as text; if they are lists of turns, {ADVICE}"
    )


def _in_quotes(cells: DoubtfulCells) -> str | None:
    if cells.count <= _MOSTLY * cells.of or cells.is_one_value:
        return None
    quoted = f"{cells.counted} cells are texts in quotes (row {cells.place} first), such as {cells.quoted}"
    if cells.count < cells.of:
        return f"{cells.where}: {quoted}, and are read with them; if they were encoded twice, write the texts alone"
    raise DataError(
        f'{cells.where}: {quoted}, which were encoded twice: write the texts alone; a prompt in quotes as ["\\"a\\""]'
    )


def parts_left_out(cells: DoubtfulCells) -> str:
    """Say how many prompts have parts that are no text."""
    return (
        f"{cells.where}: {cells.counted} prompts have parts that are no text and are left out (row {cells.place} "
        f"first: {cells.shown})"
    )
