"""The prompts of votes whose two conversations are given, as in the public releases of Chatbot Arena."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2l.data.cell_doubts import CellDoubts, DoubtfulCells, said_at_end
from p2l.data.chats import LISTS, Messages, messages_of, other_parts, text_of_content, user_turns
from p2l.data.prompt_cells import parts_left_out, read_cell
from p2l.errors import DataError, PromptError

_MOST_DIFFERENT = 0.05  # share of votes whose two conversations have different prompts

Turns = list[object] | None


def prompts_of_conversations(frame: pd.DataFrame, where: str = "", doubts: CellDoubts | None = None) -> pd.Series:
    """Return the user turns of ``conversation_a``, or of the whole session, which ``full_conversation`` holds.

    ``conversation_a`` holds the turns of this vote alone; those before it in its session both models had read.
    A row is None if ``conversation_b`` has other user turns, or ``conversation_a`` is no list of messages; warnings
    count these rows. Messages begin with ``where``; ``doubts`` as in ``read_prompt_column``.

    Raises:
        DataError: a conversation was cut or has an unknown role, none can be read, or the two differ in many rows.
    """
    with said_at_end(doubts) as found:
        prompts = turns = _user_turns(frame["conversation_a"], where, found, is_prompt=True)
        if "full_conversation" in frame.columns:
            full = map(_session_turns, frame["full_conversation"])
            prompts = [whole or last for whole, last in zip(full, turns, strict=True)]
        differing = _differing(frame, turns, where, found)
        prompts = [None if row in differing else prompt for row, prompt in enumerate(prompts)]
        return pd.Series(prompts, index=frame.index, dtype=object)


def _differing(frame: pd.DataFrame, turns: Sequence[Turns], where: str, doubts: CellDoubts) -> set[int]:
    """Return the rows whose conversations have different user turns."""
    if "conversation_b" not in frame.columns:
        return set()
    others = _user_turns(frame["conversation_b"], where, doubts, is_prompt=False)
    rows = [row for row, (a, b) in enumerate(zip(turns, others, strict=True)) if a and b and a != b]
    doubts.add(_differ, where, rows, len(turns), lambda row: f"{str(turns[row])[:60]} and {str(others[row])[:60]}")
    return set(rows)


def _differ(cells: DoubtfulCells) -> str:
    differ = (
        f"{cells.where}the user's messages of conversation_a and conversation_b differ in {cells.counted} rows "
        f"(row {cells.place} first: {cells.shown})"
    )
    if cells.count > _MOST_DIFFERENT * cells.of:
        raise DataError(f"{differ}; both models of a vote answer one prompt: check the table, or remove these rows")
    return f"{differ}; these are left out as missing values"


def _user_turns(column: pd.Series, where: str, doubts: CellDoubts, *, is_prompt: bool) -> list[Turns]:
    """Return the user turns of each conversation; None for what is no list of messages, which a warning counts.

    Raises DataError if a list was cut, or a role is unknown.
    """
    turns, others = list[Turns](), dict[int, str]()
    for row, conversation in enumerate(column):
        try:
            messages = _messages_of_conversation(conversation)
            turns.append(None if messages is None else user_turns(messages))
        except (DataError, PromptError) as error:
            raise DataError(f"{where}column {column.name}, row {row}: {error}") from None
        if is_prompt and messages and (kinds := other_parts(messages)):
            others[row] = ", ".join(kinds)
    present = np.flatnonzero(column.notna()).tolist()
    unread = [row for row in present if turns[row] is None]
    name = f"{where}column {column.name}"
    doubts.add(_unread, name, unread, len(present), column.iloc.__getitem__)
    doubts.add(parts_left_out, name, list(others), len(present), others.__getitem__)
    return turns


def _unread(cells: DoubtfulCells) -> str:
    shown = f"row {cells.place} holds {cells.quoted}"
    if cells.count == cells.of:
        raise DataError(
            f"{cells.where}: expected a list of messages with role and content, or its text as JSON or as Python "
            f"writes it; {shown}"
        )
    return f"{cells.where}: {cells.counted} cells hold no list of messages and count as missing values; {shown}"


def _messages_of_conversation(conversation: object) -> Messages | None:
    value = _list_of(conversation)
    messages = messages_of(value)
    if messages is not None:
        return messages
    return [] if isinstance(value, LISTS) and not len(value) else None


def _list_of(conversation: object) -> object:
    """Return a conversation that may be held as text; None if it is no list."""
    if not isinstance(conversation, str):
        return conversation if isinstance(conversation, (*LISTS, dict)) else None
    cell = read_cell(conversation)
    if cell is not None and cell.flaw is not None:
        raise DataError(f"{cell.flaw}; got {conversation[:80]!r}; write a list of messages, in CSV as JSON")
    return None if cell is None else cell.value


def _session_turns(session: object) -> Turns:
    turns = _list_of(session)
    if not isinstance(turns, LISTS):
        return None
    return [text_of_content(_field(_field(turn, "user"), "content")) for turn in turns]


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
