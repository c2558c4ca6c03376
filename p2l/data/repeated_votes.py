"""Votes that repeat an earlier one: the same prompt, models and outcome, and conversation and time if given."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from p2l.data.battle_table import BattleTable
from p2l.data.column_values import codes_of
from p2l.data.prompt_column import PromptColumn
from p2l.data.vote_table import VoteTable

_ALSO = ("conversation_id", "timestamp", "weight")
_AT_ONCE = 1 << 20  # votes; a large table has no room for another copy


def repeated_votes(table: VoteTable) -> Bool[np.ndarray, " votes"]:
    """Mark the votes that equal an earlier one, on the same or on changed sides."""
    return _repeated(table.battles, table.prompt_index, table.frame)


def repeated_battles(battles: BattleTable, frame: pd.DataFrame) -> Bool[np.ndarray, " votes"]:
    """Mark the same votes of a table whose prompts may be missing; ``frame`` holds its columns.

    A vote with neither a prompt nor a conversation repeats none: many are alike.
    """
    known = np.zeros(len(battles), dtype=bool)
    prompt = np.zeros(len(battles), dtype=np.int64)
    if "prompt" in frame.columns:
        column = PromptColumn.of(frame["prompt"])
        prompt = column.index
        known |= np.array([isinstance(one, tuple) for one in column.unique], dtype=bool)[prompt]
    if "conversation_id" in frame.columns:
        known |= frame["conversation_id"].notna().to_numpy()
    return known & _repeated(battles, prompt, frame) if known.any() else known


def _repeated(
    battles: BattleTable, prompt: Int64[np.ndarray, " votes"], frame: pd.DataFrame
) -> Bool[np.ndarray, " votes"]:
    also = {name: codes_of(frame[name]) for name in _ALSO if name in frame.columns}
    digests = [_digests(battles, prompt, also, start) for start in range(0, len(battles), _AT_ONCE)]
    return pd.Series(np.concatenate(digests)).duplicated().to_numpy()


def _digests(battles: BattleTable, prompt: np.ndarray, also: Mapping[str, np.ndarray], start: int) -> np.ndarray:
    """Return 64 bits for each vote of a part of the table: by chance two of 100 million agree in 1 of 3,000 cases."""
    part = slice(start, start + _AT_ONCE)
    a, b = battles.model_a[part], battles.model_b[part]
    swapped = a > b
    first, second, *ties = battles.outcome_shares[part].T
    columns = {
        "prompt": prompt[part],
        "a": np.where(swapped, b, a),
        "b": np.where(swapped, a, b),
        "wins": np.where(swapped, second, first),
        "losses": np.where(swapped, first, second),
        **{f"tie {kind}": share for kind, share in enumerate(ties)},
        **{name: codes[part] for name, codes in also.items()},
    }
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
