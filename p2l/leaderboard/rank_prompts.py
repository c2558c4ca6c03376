"""From prompts to leaderboards, in one call."""

from collections.abc import Sequence

import pandas as pd

from p2l.data.prompt_encoder import Prompt
from p2l.leaderboard.table import leaderboard_tables
from p2l.models import Checkpoint
from p2l.models.predict import predict


def rank_prompts(checkpoint: Checkpoint, prompts: Sequence[Prompt]) -> list[pd.DataFrame]:
    """The leaderboard of each prompt, best model first; columns as in ``leaderboard_table``.

    A prompt is a string, or the list of user turns of one conversation.
    """
    return leaderboard_tables(checkpoint.models, predict(checkpoint, prompts), checkpoint.family)
