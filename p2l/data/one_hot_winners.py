"""Read winners that a table holds as a column of flags for each outcome, as arena-human-preference-55k does."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from jaxtyping import Float64

from p2l.data.column_values import flag_of, is_gap, text_of
from p2l.data.winner_labels import read_winners
from p2l.winner import Outcome

ONE_HOT_COLUMNS = {
    "winner_model_a": Outcome.MODEL_A.value,
    "winner_model_b": Outcome.MODEL_B.value,
    "winner_tie": Outcome.TIE.value,
    "winner_both_bad": Outcome.BOTH_BAD.value,
    "winner_bothbad": Outcome.BOTH_BAD.value,
}
_NEEDED = {"winner_model_a", "winner_model_b"}
_OUTCOMES = {outcome.value for outcome in Outcome}
_TIES = {Outcome.TIE.value, Outcome.BOTH_BAD.value}


def has_one_hot(columns: Collection[str]) -> bool:
    """Return whether a table has a column of flags for each model; those of ties are optional."""
    return set(columns) >= _NEEDED


def read_one_hot(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert flags, see ``flag_of``, to a column ``winner``; a table without them is unchanged.

    Flags that do not name exactly one outcome become a label that shows them, and so does a ``winner`` that they
    contradict: validation reports these labels. A row without a flag that is set keeps its ``winner``, if it has one.
    """
    if not has_one_hot(frame.columns):
        return frame
    names = [name for name in ONE_HOT_COLUMNS if name in frame.columns]
    flags = np.stack([_flags(frame[name]) for name in names], axis=1)
    is_read = np.isin(flags, (0, 1)).all(axis=1) & ((flags == 1).sum(axis=1) == 1)
    is_blank = ((flags == 0) | np.isnan(flags)).all(axis=1)
    name = np.array(names, dtype=object)[(flags == 1).argmax(axis=1)]
    winner = np.array([ONE_HOT_COLUMNS[column] for column in name], dtype=object)
    winner[is_blank], name[~is_read] = None, None
    for row in np.flatnonzero(~is_read & ~is_blank):
        winner[row] = ", ".join(f"{column} {frame[column].iloc[row]}" for column in names)
    rest = frame.drop(columns=names)
    if "winner" in frame.columns:
        winner = _agreed(rest, winner, name)
    return rest.assign(winner=pd.Series(winner, index=frame.index, dtype=object))


def _flags(column: pd.Series) -> Float64[np.ndarray, " votes"]:
    """Return 1 and 0, NaN for gaps, and another number for what is no flag."""
    flags = [(np.nan if is_gap(value) else np.inf, flag_of(value)) for value in column.tolist()]
    return np.array([other if flag is None else flag for other, flag in flags], dtype=np.float64)


def _agreed(frame: pd.DataFrame, winner: np.ndarray, flag: np.ndarray) -> np.ndarray:
    """Return the labels of the column ``winner``, and ``winner`` in its gaps.

    A label that contradicts the ``flag`` of its row becomes one that says so. Of the two kinds of ties the column's
    counts, since most tables of flags know only one.
    """
    agreed = winner.copy()
    outcomes = read_winners(frame)["winner"].tolist()
    for row, (label, outcome) in enumerate(zip(frame["winner"].tolist(), outcomes, strict=True)):
        if text_of(label) is None:
            continue
        differs = flag[row] is not None and outcome in _OUTCOMES and outcome != winner[row]
        agreed[row] = f"{label}, but {flag[row]} is 1" if differs and not {outcome, winner[row]} <= _TIES else label
    return agreed
