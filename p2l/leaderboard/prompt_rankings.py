"""From prompts to leaderboards, in one call."""

from pathlib import Path
from typing import overload

import pandas as pd

from p2l.data.prompt_input import Chat, ManyPrompts
from p2l.models import Checkpoint, load_checkpoint, predict
from p2l.ranking import Leaderboard, Leaderboards, leaderboard_tables
from p2l.ranking.leaderboard_table import warned


@overload
def rank(checkpoint: Checkpoint | str | Path, prompts: str) -> Leaderboard: ...


@overload
def rank(checkpoint: Checkpoint | str | Path, prompts: Chat) -> Leaderboard: ...


@overload
def rank(checkpoint: Checkpoint | str | Path, prompts: ManyPrompts) -> Leaderboards: ...


def rank(checkpoint: Checkpoint | str | Path, prompts: str | Chat | ManyPrompts) -> Leaderboard | Leaderboards:
    """Rank the models of a checkpoint for one prompt, or for each of many.

    Args:
        checkpoint: a loaded one, or the folder or hub id to load it from. Load it once if you call this often.
        prompts: a string or a chat (list of messages with ``role`` and ``content``) is one prompt and gives a
            ``Leaderboard``. A list of strings is that many prompts and gives ``Leaderboards``, and so do a Series, a
            table with a column ``prompt``, or the ``Path`` of one. Write one prompt of two user turns as
            ``[["first", "second"]]``.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        PromptError: a prompt is not a string, a non-empty list of strings or a chat with a user message.

    >>> rank(checkpoint, "What is 1+1?").predict("alpha", "beta").keys()
    dict_keys(['a wins', 'b wins', 'tie', 'both bad'])
    >>> rank(checkpoint, ["What is 1+1?", "Write a poem."])
    Leaderboards(2 prompts, 4 models, grk)
    """
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    return loaded.rank(prompts)


def rank_prompts(checkpoint: Checkpoint, prompts: str | Chat | ManyPrompts) -> list[pd.DataFrame]:
    """Return the table of each prompt, best model first, columns as in ``leaderboard_table``; ``rank`` gives objects.

    ``prompts`` are as in ``rank``; one prompt gives a list of one table.
    """
    tables = leaderboard_tables(checkpoint.models, predict(checkpoint, prompts), checkpoint.family, checkpoint.groups)
    return [warned(table, checkpoint.warning) for table in tables]
