"""Compare a leaderboard to a reference: other prompts, or the same prompts with an earlier checkpoint."""

import numpy as np
import pandas as pd

from p2l.errors import DataError
from p2l.insight.group_leaderboards import GroupLeaderboard, difference
from p2l.statistics.multiple_testing import benjamini_hochberg

HOLDS_MODEL_ERROR = "holds_model_error"


def compare_leaderboards(
    own: GroupLeaderboard, reference: GroupLeaderboard, *, same_table: bool = False, level: float = 0.95
) -> pd.DataFrame:
    """Return the LLMs of ``own``, best first, with their place on ``reference``.

    Columns: those of ``GroupLeaderboard.table``, then reference_rank, reference_elo, difference with low and high (Elo
    points, both at the same spread), p_value, verdict. A verdict "higher" or "lower" is a discovery at a false
    discovery rate of 1 - level over the LLMs; "" is none. Set ``same_table`` if both rank the same prompts, for example
    with two checkpoints; otherwise the prompts are independent. ``attrs[HOLDS_MODEL_ERROR]`` tells whether the
    differences hold the error of the model, see ``difference``. Raises DataError if the two do not rank the same LLMs.
    """
    if own.models != reference.models:
        only = sorted(set(own.models) ^ set(reference.models))
        raise DataError(
            "the two leaderboards must rank the same LLMs in the same order; "
            f"on one of them only: {', '.join(only[:5]) or 'none'}"
        )
    apart = difference(own, reference, same_table=same_table, level=level)
    found = benjamini_hochberg(apart.p_value, 1 - level)
    beside = pd.DataFrame(
        {
            "model": own.models,
            "reference_rank": reference.ranks,
            "reference_elo": reference.elo,
            "difference": apart.value,
            "low": apart.low,
            "high": apart.high,
            "p_value": apart.p_value,
            "verdict": np.where(found, np.where(apart.value > 0, "higher", "lower"), ""),
        }
    )
    found = own.table(level).merge(beside, on="model", validate="one_to_one")
    found.attrs[HOLDS_MODEL_ERROR] = own.model_error is not None and reference.model_error is not None
    return found
