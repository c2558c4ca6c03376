"""Read a column of prompts, in tables of any format: the same text means the same in all of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2l.data.cell_doubts import CellDoubts, said_at_end
from p2l.data.chats import LISTS, Messages, messages_of, other_parts, user_turns
from p2l.data.column_values import decoded, text_of
from p2l.data.message_forms import STARTS, parse_objects, spells_objects
from p2l.data.prompt_doubts import ADVICE, add_texts, parts_left_out
from p2l.data.text_lists import NO_LITERAL, parse_literal
from p2l.errors import DataError, PromptError

_MANY = 0.5  # above this share of lists, the cells that are no lists are the odd ones
_STARTS = ("[", "(", "{", '"', "'", "array(", "c(", "b'", 'b"', *STARTS)
# how a list of turns, a chat or bytes begin, as Python, NumPy, R and JSON write them
_SERIALISED = re.compile(
    r"""(?:\[|\(|array\(|c\()(?:\s|\[|\(|\{|list\(|array\()*[rbu]?['"]"""
    r"""|\{\s*['"](?:role|content|from|value|messages|conversations?)['"]\s*:"""
)
_ENOUGH = 100  # text cells of a part of a table that say what it holds
_OPENING, _CLOSING = "[({", "])}"
_BRACKETS, _QUOTES = "brackets", "quotes"


class SpeltCell(NamedTuple):
    """What a text spells: a list (of a chat the messages), or why it cannot be read; whether it is meant as turns."""

    value: list[object] | Messages | None
    flaw: str | None = None
    is_of_turns: bool = True


@dataclass
class _Spelt:
    """The text cells of a column that spell lists, by row; ``present`` counts all its text cells.

    ``enclosed`` are the rows of other texts that stand whole in brackets or in quotes.
    """

    cells: dict[int, SpeltCell] = field(default_factory=dict)
    present: int = 0
    enclosed: dict[str, list[int]] = field(default_factory=dict)

    @property
    def of_turns(self) -> list[int]:
        return [row for row, cell in self.cells.items() if cell.is_of_turns]

    @property
    def are_lists(self) -> bool:
        """Whether the text cells of the column are lists; those that are none are odd."""
        return bool(self.cells) and (len(self.of_turns) > _MANY * self.present or len(self.cells) == self.present)


def spells_lists(column: pd.Series) -> bool | None:
    """Return whether ``read_prompt_column`` reads the texts of this column as lists; None if it has no texts."""
    spelt = _spelt_cells(column)
    return spelt.are_lists if spelt.present else None


def read_prompt_column(
    column: pd.Series, where: str, listed: bool | None = None, doubts: CellDoubts | None = None
) -> pd.Series:
    """Return a column of prompts: text or lists of turns; other values are kept for the caller to report.

    Chats become their user turns, numbers and bytes text. Text cells that spell lists of turns or chats, as JSON or as
    Python writes them, become lists if most text cells do. If only a few do, they stay text, and a warning counts them.
    Warnings count texts that stand in brackets without quotes, and parts of messages that are no text, too.

    Args:
        column: prompts of any type.
        where: the table and the column, for messages.
        listed: whether text cells are lists, if that is known from other rows of the table.
        doubts: what is doubtful in other rows of the table; by default it is said at once.

    Raises:
        DataError: with the row and the value, a list that was cut or written without commas, a text among lists, a
            chat with an unknown role, bytes that are not UTF-8, or if all texts stand in brackets or in quotes.
    """
    spelt = _spelt_cells(column)
    are_lists = spelt.are_lists if listed is None else listed
    if spelt.are_lists and not are_lists and spelt.present >= _ENOUGH:
        row = next(iter(spelt.cells))
        raise DataError(
            f"{where}, row {row}: earlier rows hold text, but most of these lists: {_shown(column.iloc[row])}; {ADVICE}"
        )
    with said_at_end(doubts) as found:
        if not are_lists:
            add_texts(found, where, column, spelt.present, lists=spelt.of_turns, **spelt.enclosed)
        lists = _checked_lists(spelt, column, where) if are_lists else {}
        if not lists and not _needs_change(column):
            return column
        return _read(column, lists, where, found)


def _read(column: pd.Series, lists: Mapping[int, list[object] | Messages], where: str, doubts: CellDoubts) -> pd.Series:
    new, others = np.empty(len(column), dtype=object), dict[int, str]()
    for row, value in enumerate(column.tolist()):
        value = lists.get(row, value)
        messages = messages_of(value)
        new[row] = _prompt(value, messages, where, row)
        if messages is not None and (kinds := other_parts(messages)):
            others[row] = ", ".join(kinds)
    doubts.add(parts_left_out, where, list(others), len(column), others.__getitem__)
    return pd.Series(new, index=column.index, name=column.name, dtype=object)


def _spelt_cells(column: pd.Series) -> _Spelt:
    if isinstance(column.dtype, pd.StringDtype):
        starts = column.str.lstrip().str.startswith(_STARTS).to_numpy(dtype=bool, na_value=False)
        found = {row: str(column.iloc[row]) for row in np.flatnonzero(starts).tolist()}
        present = int((column.str.strip().str.len() > 0).sum() if found else column.notna().sum())
    else:
        texts = {row: value for row, value in enumerate(column.tolist()) if isinstance(value, str) and value.strip()}
        found = {row: text for row, text in texts.items() if text.lstrip().startswith(_STARTS)}
        present = len(texts)
    cells: dict[int, SpeltCell] = {}
    enclosed: dict[str, list[int]] = {_BRACKETS: [], _QUOTES: []}
    for row, text in found.items():
        if (cell := read_cell(text)) is not None:
            cells[row] = cell
        elif (kind := _enclosure_of(text.strip())) is not None:
            enclosed[kind].append(row)
    return _Spelt(cells, present, enclosed)


def _enclosure_of(text: str) -> str | None:
    """Return whether a text stands whole in brackets without being a literal, or is a literal in quotes."""
    is_quoted = text[0] in "'\"" and len(text) > 1 and text[-1] == text[0]
    if not is_quoted and not (text[0] in "[{" and _end_of_list(text, quotes="") == len(text)):
        return None
    try:
        value = parse_literal(text)
    except DataError:
        return None
    if is_quoted:
        return _QUOTES if isinstance(value, str) else None
    return _BRACKETS if value is NO_LITERAL else None


def read_cell(text: str) -> SpeltCell | None:
    """Return what a text spells, if it is a list, a chat or the part of one; None for any other text."""
    text = text.strip()
    if spells_objects(text):
        messages = messages_of(parse_objects(text))
        return SpeltCell(messages, None if messages else "this is the text of objects")
    try:
        value = parse_literal(text)
    except DataError as error:
        return SpeltCell(None, str(error)) if _SERIALISED.match(text) else None
    if value is NO_LITERAL:
        flaw = _flaw_of(text) if _SERIALISED.match(text) else None
        return None if flaw is None else SpeltCell(None, flaw)
    if isinstance(value, str):
        inner = read_cell(value) if value != text else None
        is_list = inner is not None and inner.flaw is None and inner.is_of_turns
        return SpeltCell(None, "this is a list within a string, encoded twice") if is_list else None
    if isinstance(value, bytes):
        return SpeltCell(None, "this is the text of Python bytes, which need .decode()")
    if (messages := messages_of(value)) is not None:
        return SpeltCell(messages)
    if isinstance(value, set) and _holds_text(list(value)):
        return SpeltCell(None, "this is a set, which has no order")
    return SpeltCell(list(value), is_of_turns=_holds_text(value)) if isinstance(value, (list, tuple)) else None


def _holds_text(value: object) -> bool:
    return any(map(_holds_text, value)) if isinstance(value, (list, tuple)) else isinstance(value, (str, bytes, dict))


def _flaw_of(text: str) -> str | None:
    """Return why a text that begins as a list cannot be read; None if other text follows the list."""
    end = _end_of_list(text)
    if end is None or not text[end:].strip(" .,…"):
        if end is None or text[end:].strip():
            return "this list was cut"
        return "this is no list as JSON or Python writes it (NumPy and R write others, without commas or as a call)"
    return None


def _end_of_list(text: str, quotes: str = "'\"") -> int | None:
    """Return the position after the bracket that closes the first one; None if none does. Quoted texts may hold any."""
    depth, quote, escaped = 0, "", False
    for place, letter in enumerate(text):
        if escaped:
            escaped = False
        elif quote:
            escaped = letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in quotes:
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
            if depth <= 0:
                return place + 1
    return None


def _checked_lists(spelt: _Spelt, column: pd.Series, where: str) -> dict[int, list[object] | Messages]:
    """Return the lists by row; raises DataError if one cannot be read, or a text is none."""
    for row, cell in spelt.cells.items():
        if cell.flaw is not None:
            raise DataError(f"{where}, row {row}: {cell.flaw}; got {_shown(column.iloc[row])}; {ADVICE}")
    if len(spelt.cells) < spelt.present:
        texts = (row for row, value in enumerate(column.tolist()) if isinstance(value, str) and value.strip())
        odd = next(row for row in texts if row not in spelt.cells)
        raise DataError(
            f"{where}: {len(spelt.cells):,} of {spelt.present:,} cells spell lists of turns, but row {odd} does not: "
            f"{_shown(column.iloc[odd])}; {ADVICE}"
        )
    return {row: cell.value for row, cell in spelt.cells.items() if cell.value is not None}


def _needs_change(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.StringDtype):
        return False
    values = column.tolist()
    kinds = set(map(type, values))
    if any(issubclass(kind, (bytes, int, float, Decimal, np.number, Mapping)) for kind in kinds):
        return True
    if not any(issubclass(kind, LISTS) for kind in kinds):
        return False
    return any(isinstance(value, LISTS) and len(value) and isinstance(value[0], Mapping) for value in values)


def _prompt(value: object, messages: Messages | None, where: str, row: int) -> object:
    try:
        if messages is not None:
            return user_turns(messages)
        if isinstance(value, bytes):
            return decoded(value)
        if isinstance(value, (int, float, Decimal, np.number)) and not isinstance(value, bool):
            return text_of(value)
    except (DataError, PromptError) as error:
        raise DataError(f"{where}, row {row}: {error}") from None
    return value


def _shown(value: object) -> str:
    return repr(str(value)[:80])
