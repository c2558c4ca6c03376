"""The forms in which a caller may give prompts, and the user turns they hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from p2l.data.adapters import adapt
from p2l.data.chats import messages_of, user_turns
from p2l.data.hub_dataset import HubDataset, is_dataset
from p2l.data.prompt_cells import read_prompt_column
from p2l.data.prompt_encoder import turns_of
from p2l.data.readers import describe, read_table, source_name
from p2l.errors import DataError, PromptError

Chat: TypeAlias = Sequence[Mapping[str, Any]]
ManyPrompts: TypeAlias = Path | pd.Series | pd.DataFrame | np.ndarray | HubDataset | Sequence[Any]
Turns: TypeAlias = tuple[str, ...]

EXPECTED = (
    "expected a string or a list of chat messages (one prompt); or, for many, a list or Series of prompts, or a table "
    "with a column prompt (DataFrame, datasets.Dataset, Path, list of dicts)"
)


def is_one_prompt(prompts: object) -> bool:
    """Whether this is a single prompt: a string, or a chat (a list of messages with a role)."""
    return isinstance(prompts, str) or (not isinstance(prompts, np.ndarray) and messages_of(prompts) is not None)


def read_prompts(prompts: str | Chat | ManyPrompts) -> list[Turns]:
    """Return the user turns of each prompt.

    A string is one prompt, and so is a chat: a list of messages with ``role`` and ``content``, whose user messages
    count. A list of strings is that many prompts; write one prompt of two turns as ``[["first", "second"]]``. In a
    list, Series or array each item is a prompt: a string, a list of user turns, or a chat. Of a table (DataFrame,
    ``datasets.Dataset``, ``Path`` of a file, list of dicts) the column ``prompt`` is read.

    Raises:
        PromptError: another type, or an item that is no prompt, with its position.
        DataError: a table without a column ``prompt``, or a file that cannot be read.

    >>> read_prompts("What is 1+1?")
    [('What is 1+1?',)]
    >>> read_prompts(["What is 1+1?", ["Hello.", "Write a poem."]])
    [('What is 1+1?',), ('Hello.', 'Write a poem.')]
    >>> read_prompts([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1+1?"}])
    [('What is 1+1?',)]
    """
    if is_one_prompt(prompts):
        return [_turns(prompts)]
    if isinstance(prompts, (Path, pd.DataFrame)) or is_dataset(prompts) or _is_rows(prompts):
        prompts = _prompt_column(prompts)
    elif isinstance(prompts, pd.Series):
        prompts = read_prompt_column(prompts, f"column {prompts.name}")
    if not isinstance(prompts, (Sequence, pd.Series, np.ndarray)) or isinstance(prompts, bytes):
        raise PromptError(f"{EXPECTED}; got {describe(prompts)}")
    return [_turns(prompt, f"prompt {position}: ") for position, prompt in enumerate(prompts)]


def _turns(prompt: object, where: str = "") -> Turns:
    try:
        messages = messages_of(prompt)
        return turns_of(prompt if messages is None else user_turns(messages))
    except PromptError as error:
        raise PromptError(f"{where}{error}") from None


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
