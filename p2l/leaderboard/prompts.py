"""From prompts to leaderboards, in one call."""

from collections.abc import Sequence

import pandas as pd

from p2l.data.prompts import Prompt
from p2l.leaderboard.table import leaderboard_table
from p2l.models import Checkpoint
from p2l.models.predict import predict
from p2l.types import Ranking


def rank_prompts(checkpoint: Checkpoint, prompts: Sequence[Prompt]) -> list[pd.DataFrame]:
    """The leaderboard of each prompt, best model first; columns as in ``leaderboard_table``.

    A prompt is a string, or the list of user turns of one conversation.
    """
    return [leaderboard_table(checkpoint.models, one, checkpoint.family) for one in split(predict(checkpoint, prompts))]


def split(rankings: Ranking) -> list[Ranking]:
    """The rankings of a batch, one by one."""
    etas = [None] * len(rankings.coefs) if rankings.eta is None else list(rankings.eta)
    return [Ranking(coefs, eta) for coefs, eta in zip(rankings.coefs, etas, strict=True)]
