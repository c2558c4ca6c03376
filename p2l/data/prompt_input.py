"""The forms in which a caller may give prompts, and the user turns they hold."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from p2l.data.adapters import adapt
from p2l.data.chats import messages_of, other_parts, user_turns
from p2l.data.hub_dataset import HubDataset, is_dataset
from p2l.data.prompt_cells import read_prompt_column
from p2l.data.prompt_encoder import holds_text, text_turns_of, turns_of
from p2l.data.readers import describe, read_table, source_name
from p2l.errors import DataError, PromptError

Chat: TypeAlias = Sequence[Mapping[str, Any]]
ManyPrompts: TypeAlias = Path | pd.Series | pd.DataFrame | np.ndarray | HubDataset | Sequence[Any]
Turns: TypeAlias = tuple[str, ...]

log = logging.getLogger(__name__)

_TABLES = tuple(suffix + end for suffix in (".csv", ".tsv", ".json", ".jsonl", ".parquet") for end in ("", ".gz"))
EXPECTED = (
    "expected a string or a list of chat messages (one prompt); or, for many, a list or Series of prompts, or a table "
    "with a column prompt (DataFrame, datasets.Dataset, Path, list of dicts)"
)


def is_one_prompt(prompts: object) -> bool:
    """Whether this is a single prompt: a string, or a chat (a list of messages with a role)."""
    return isinstance(prompts, str) or (not isinstance(prompts, np.ndarray) and messages_of(prompts) is not None)


def read_prompts(prompts: str | Chat | ManyPrompts, *, allow_empty: bool = False) -> list[Turns]:
    """Return the user turns of each prompt.

    A string is one prompt, and so is a chat: a list of messages with ``role`` and ``content``, whose user messages
    count. A list of strings is that many prompts; write one prompt of two turns as ``[["first", "second"]]``. In a
    list, Series or array each item is a prompt: a string, a list of user turns, or a chat. Of a table (DataFrame,
    ``datasets.Dataset``, ``Path`` of a file, list of dicts) the column ``prompt`` is read.

    Logs a warning if parts of a chat are no text and so not read, if a string is the path of an existing table, and if
    prompts are empty, where ``allow_empty`` takes them.

    Raises:
        PromptError: another type, or an item that is no prompt or holds no text, with its position.
        DataError: a table without a column ``prompt``, or a file that cannot be read.

    >>> read_prompts("What is 1+1?")
    [('What is 1+1?',)]
    >>> read_prompts(["What is 1+1?", ["Hello.", "Write a poem."]])
    [('What is 1+1?',), ('Hello.', 'Write a poem.')]
    >>> read_prompts([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1+1?"}])
    [('What is 1+1?',)]
    """
    if is_one_prompt(prompts):
        return _read_all([prompts], lambda _: "", allow_empty)
    if isinstance(prompts, (Path, pd.DataFrame)) or is_dataset(prompts) or _is_rows(prompts):
        prompts = _prompt_column(prompts)
    elif isinstance(prompts, pd.Series):
        prompts = read_prompt_column(prompts, f"column {prompts.name}")
    if not isinstance(prompts, (Sequence, pd.Series, np.ndarray)) or isinstance(prompts, bytes):
        raise PromptError(f"{EXPECTED}; got {describe(prompts)}")
    return _read_all(prompts, "prompt {}: ".format, allow_empty)


def _read_all(prompts: Iterable[object], place: Callable[[int], str], allow_empty: bool) -> list[Turns]:
    unread: dict[str, int] = {}
    found = [_turns(prompt, place(position), unread, allow_empty) for position, prompt in enumerate(prompts)]
    if empty := [position for position, turns in enumerate(found) if not holds_text(turns)]:
        log.warning("%d of %d prompts hold no text (prompt %d first)", len(empty), len(found), empty[0])
    if unread:
        parts = ", ".join(f"{kind} {count:,}" for kind, count in unread.items())
        log.warning("parts of messages that are no text are not read (chats that have them): %s", parts)
    if path := next((turn for turns in found for turn in turns if _is_table_path(turn)), None):
        log.warning("the text %r is taken as a prompt; for the prompts of this file give pathlib.Path(%r)", path, path)
    return found


def _turns(prompt: object, where: str, unread: dict[str, int], allow_empty: bool) -> Turns:
    """Return the user turns; count the kinds of parts that are no text in ``unread``."""
    try:
        messages = messages_of(prompt)
        if messages is None:
            return turns_of(prompt) if allow_empty else text_turns_of(prompt)
        kinds = other_parts(messages)
        turns = turns_of(user_turns(messages))
        if not holds_text(turns) and not allow_empty:
            raise PromptError(f"the user's messages hold no text ({', '.join(kinds) or 'they are empty'})")
    except PromptError as error:
        raise PromptError(f"{where}{error}") from None
    for kind in kinds:
        unread[kind] = unread.get(kind, 0) + 1
    return turns


def _is_table_path(text: str) -> bool:
    return text.lower().endswith(_TABLES) and _is_file(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long, or with characters that no path has
        return False


def _is_rows(value: object) -> bool:
    return _is_list_of_dicts(value) and any("prompt" in row for row in value)  # type: ignore[attr-defined]


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _prompt_column(source: Any) -> pd.Series:
    name = source_name(source) if isinstance(source, Path) else "the table"
    frame = adapt(read_table(source), source=name)
    if "prompt" not in frame.columns:
        raise DataError(f"{name} has no column prompt; it has: {', '.join(map(str, frame.columns))}")
    return frame["prompt"]
