"""The prompts of votes whose two conversations are given, as in the public releases of Chatbot Arena."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from p2l.data.chats import LISTS, messages_of, text_of_content, user_turns
from p2l.data.prompt_cells import read_cell
from p2l.errors import DataError, PromptError

log = logging.getLogger(__name__)

_MOST_DIFFERENT = 0.05  # share of votes whose two conversations have different prompts

Turns = list[object] | None


def prompts_of_conversations(frame: pd.DataFrame, where: str = "") -> pd.Series:
    """Return the user turns of ``conversation_a``, or of the whole session, which ``full_conversation`` holds.

    ``conversation_a`` holds the turns of this vote alone; those before it in its session both models had read.
    A row is None if ``conversation_b`` has other user turns, or ``conversation_a`` is no list of messages; warnings
    count these rows. Messages begin with ``where``.

    Raises:
        DataError: a conversation was cut or has an unknown role, none can be read, or the two differ in many rows.
    """
    prompts = turns = _user_turns(frame["conversation_a"], where)
    if "full_conversation" in frame.columns:
        full = map(_session_turns, frame["full_conversation"])
        prompts = [whole or last for whole, last in zip(full, turns, strict=True)]
    differing = _differing(frame, turns, where)
    prompts = [None if row in differing else prompt for row, prompt in enumerate(prompts)]
    return pd.Series(prompts, index=frame.index, dtype=object)


def _differing(frame: pd.DataFrame, turns: Sequence[Turns], where: str) -> set[int]:
    """Return the rows whose conversations have different user turns."""
    if "conversation_b" not in frame.columns:
        return set()
    others = _user_turns(frame["conversation_b"], where)
    rows = [row for row, (a, b) in enumerate(zip(turns, others, strict=True)) if a and b and a != b]
    if not rows:
        return set()
    first = f"row {rows[0]} first: {str(turns[rows[0]])[:60]} and {str(others[rows[0]])[:60]}"
    differ = (
        f"{where}the user's messages of conversation_a and conversation_b differ in {len(rows):,} of {len(turns):,} "
        f"rows ({first})"
    )
    if len(rows) > _MOST_DIFFERENT * len(turns):
        raise DataError(f"{differ}; both models of a vote answer one prompt: check the table, or remove these rows")
    log.warning("%s; these are left out as missing values", differ)
    return set(rows)


def _user_turns(column: pd.Series, where: str) -> list[Turns]:
    """Return the user turns of each conversation; None for what is no list of messages, which a warning counts.

    Raises DataError if a list was cut, a role is unknown, or no conversation of the column can be read.
    """
    turns = []
    for row, conversation in enumerate(column):
        try:
            turns.append(_turns_of_conversation(conversation))
        except (DataError, PromptError) as error:
            raise DataError(f"{where}column {column.name}, row {row}: {error}") from None
    present = np.flatnonzero(column.notna())
    unread = [row for row in present.tolist() if turns[row] is None]
    if not unread:
        return turns
    shown = f"row {unread[0]} holds {str(column.iloc[unread[0]])[:80]!r}"
    if len(unread) == len(present):
        raise DataError(
            f"{where}column {column.name}: expected a list of messages with role and content, or its text as JSON or "
            f"as Python writes it; {shown}"
        )
    log.warning(
        "%scolumn %s: %d of %d cells hold no list of messages and count as missing values; %s",
        *(where, column.name, len(unread), len(present), shown),
    )
    return turns


def _turns_of_conversation(conversation: object) -> Turns:
    value = _list_of(conversation)
    messages = messages_of(value)
    if messages is not None:
        return user_turns(messages)
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
