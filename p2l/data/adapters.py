"""Convert public vote releases to the columns of a vote table; rows keep their number and order.

A vote table has ``prompt`` (a string, or a list of user turns), ``model_a``, ``model_b`` and ``winner`` (the values of
``p2l.winner.Outcome``). It may have ``weight``, ``timestamp``, ``language``, ``category_tag``, ``conversation_id`` and
the soft vote ``p_model_a``, ``p_model_b``, ``p_tie``, ``p_both_bad`` (sum 1). An adapter leaves a value that it cannot
read missing, so that validation reports the row.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd

from p2l.data.cell_doubts import CellDoubts
from p2l.data.chats import LISTS
from p2l.data.column_meanings import check_meanings
from p2l.data.column_values import as_text, numbers
from p2l.data.conversations import prompts_of_conversations
from p2l.data.one_hot_winners import ONE_HOT_COLUMNS, has_one_hot, read_one_hot
from p2l.data.prompt_cells import read_prompt_column
from p2l.data.text_lists import parse_list
from p2l.data.winner_labels import WinnerMap, read_winners
from p2l.errors import DataError
from p2l.winner import OUTCOMES, Outcome

SOFT_COLUMNS = ("p_model_a", "p_model_b", "p_tie", "p_both_bad")
Adapter = Callable[[pd.DataFrame], pd.DataFrame]
_NAMES = ("model_a", "model_b", "conversation_id", "evaluation_session_id", "question_id")
_SAME = 1e-3
_TIE_LABELS = {1: Outcome.TIE.value, 2: Outcome.BOTH_BAD.value}
# What a table may hold that one leaderboard needs
BATTLE_COLUMNS_OF_RELEASES = ("model_a", "model_b", "winner", "weight", *SOFT_COLUMNS, "p_b", *ONE_HOT_COLUMNS)
# Training needs only the prompt of these; the answers are most of a release's memory.
_TEXTS_OF_ANSWERS = ["conversation_a", "conversation_b", "full_conversation", "response_a", "response_b"]


def adapt(
    frame: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
    scored: bool | None = None,
    listed: bool | None = None,
    source: str | None = None,
    prompts: bool = True,
    doubts: CellDoubts | None = None,
) -> pd.DataFrame:
    """Convert a known release, recognised by its columns, to the columns of a vote table.

    Known: one-hot winners (arena-human-preference-55k), -100k (conversations), -140k (content parts, ``both_bad``), the
    P2L training data (``labels``), judges' preferences ``p_b``, soft votes without a winner; any other is taken as a
    vote table. Prompts are read by ``read_prompt_column``, or from the conversations if there is no column
    ``prompt``. Names become text, and spellings of winners the values of ``Outcome``; the texts of the answers are
    dropped; other columns stay unchanged.

    ``columns`` and ``winner_map`` as in ``p2l.data.load_votes``, ``scored`` as in ``read_winners``, ``listed`` as in
    ``read_prompt_column``, and so are ``doubts``; ``prompts=False`` leaves prompts as they are; messages begin with
    ``source``.

    Raises ``DataError`` if ``labels`` contradict the models of the table, or prompts or conversations cannot be read.
    """
    frame = _with_text_names(chosen_columns(frame, columns or {}))
    frame = read_one_hot(frame)
    adapted = _adapter_of(frame.columns)(frame)
    if prompts:
        adapted = _with_prompts(adapted, (columns or {}).get("prompt", "prompt"), source, listed, doubts)
    answers = [name for name in _TEXTS_OF_ANSWERS if name in adapted.columns]
    return read_winners(adapted.drop(columns=answers) if answers else adapted, winner_map, scored=scored)


def _adapter_of(columns: Collection[str]) -> Adapter:
    columns = set(columns)
    if {"conversation_a", "evaluation_session_id"} <= columns:
        return adapt_arena_140k
    if "conversation_a" in columns:
        return adapt_arena_100k
    if {"labels", "model_a", "model_b"} <= columns:
        return adapt_p2l_training
    if "p_b" in columns:
        return adapt_judge
    return adapt_soft if columns.issuperset(SOFT_COLUMNS) and "winner" not in columns else _unchanged


def battle_adapter(columns: Collection[str]) -> Adapter | None:
    """Return how to convert rows of a table to battles without prompts, whose winners are still as the table spells
    them; None if that needs the whole table: ``labels`` are positions among all its models.
    """
    adapter = _adapter_of(columns)
    if adapter is adapt_p2l_training and "winner" not in columns and not has_one_hot(columns):
        return None
    then = adapter if adapter in (adapt_judge, adapt_soft) else _unchanged
    return lambda frame: then(read_one_hot(frame))


def _unchanged(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def chosen_columns(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Rename the columns that the caller names, in place of any that have the new name."""
    if not columns:
        return frame
    check_meanings(columns, frame.columns)
    missing = [name for name in columns.values() if name not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns))
        raise DataError(f"columns: the table has no column {', '.join(map(str, missing))}; it has {has}")
    if twice := [name for name, count in Counter(columns.values()).items() if count > 1]:
        both = " and ".join(name for name, column in columns.items() if column == twice[0])
        raise DataError(f"columns: {both} are both to be read from the column {twice[0]}; give each its own")
    replaced = [name for name in columns if name in frame.columns and name not in columns.values()]
    return frame.drop(columns=replaced).rename(columns={old: new for new, old in columns.items()})


def _with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    texts = {name: as_text(frame[name]) for name in _NAMES if name in frame.columns}
    changed = {name: column for name, column in texts.items() if column is not frame[name] and column is not None}
    return frame.assign(**changed) if changed else frame


def _with_prompts(
    frame: pd.DataFrame, name: str, source: str | None, listed: bool | None, doubts: CellDoubts | None
) -> pd.DataFrame:
    """Read the column ``prompt``, called ``name`` in messages, or else the conversations."""
    where = f"{source}, " if source else ""
    if "prompt" in frame.columns:
        given = frame["prompt"]
        read = read_prompt_column(given, f"{where}column {name}", listed, doubts)
        return frame if read is given else frame.assign(prompt=read)
    if "conversation_a" in frame.columns:
        return frame.assign(prompt=prompts_of_conversations(frame, where, doubts))
    return frame


def adapt_arena_100k(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert lmarena-ai/arena-human-preference-100k: time in ``tstamp``, ids in ``question_id``."""
    return _renamed(frame, {"tstamp": "timestamp", "question_id": "conversation_id"})


def adapt_arena_140k(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert lmarena-ai/arena-human-preference-140k: a session holds several votes."""
    return _renamed(frame, {"evaluation_session_id": "conversation_id"})


def adapt_p2l_training(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert P2L training data: ``labels`` [winner, loser] or [first, second, t], t = 0 first won, 1 tie, 2 both bad.

    The indices are positions in the table's own models, unique and sorted. A ``winner`` column takes precedence over
    the labels: published tables label both-bad votes as ties (t = 1) and distinguish them in ``winner`` only.
    """
    if "winner" in frame.columns:
        return frame
    named = (frame["model_a"].notna() & frame["model_b"].notna()).to_numpy()
    models = sorted(set(frame["model_a"].dropna()) | set(frame["model_b"].dropna()))
    labels, pairs = list(frame["labels"]), list(zip(frame["model_a"], frame["model_b"], strict=True))
    winner = [
        _winner_of_label(label, pair, models, row) if named[row] else None
        for row, (label, pair) in enumerate(zip(labels, pairs, strict=True))
    ]
    return frame.drop(columns="labels").assign(winner=pd.Series(winner, index=frame.index, dtype=object))


def adapt_judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert a judge's preference ``p_b`` in [0, 1] for model_b (AlpacaEval) to a soft vote, and a winner if none.

    What is not a number stays in ``p_model_b``, for validation to report. Raises ``DataError`` if the table has other
    soft votes too.
    """
    p_b = pd.Series(numbers(frame["p_b"]), index=frame.index)
    if set(SOFT_COLUMNS) & set(frame.columns):
        _check_same(p_b, frame)
        adapted = frame
    else:
        read = p_b.where(np.isfinite(p_b))
        written = frame["p_b"].astype(object).where(np.isinf(p_b), p_b) if np.isinf(p_b).any() else p_b
        soft = dict(zip(SOFT_COLUMNS, (1 - read, written, read * 0, read * 0), strict=True))
        adapted = frame.assign(**soft)
    if "winner" in frame.columns:
        return adapted
    names = {-1.0: Outcome.MODEL_A.value, 0.0: Outcome.TIE.value, 1.0: Outcome.MODEL_B.value}
    return adapted.assign(winner=np.sign(p_b - 0.5).map(names))


def _check_same(p_b: pd.Series, frame: pd.DataFrame) -> None:
    """Raise DataError if ``p_b`` differs from ``p_model_b``."""
    soft = numbers(frame["p_model_b"]) if "p_model_b" in frame.columns else p_b.to_numpy()
    if (differ := ~np.isclose(p_b, soft, rtol=0, atol=_SAME, equal_nan=True)).any():
        row = int(np.flatnonzero(differ)[0])
        raise DataError(
            f"the table holds soft votes twice, in p_b and in p_model_b, which differ in {differ.sum():,} rows (row "
            f"{row} first: {p_b.iloc[row]:g} and {soft[row]:g}); keep one of them"
        )


def adapt_soft(frame: pd.DataFrame) -> pd.DataFrame:
    """Add to soft votes the winner that each prefers, the first of several; missing where all four values are."""
    soft = np.stack([numbers(frame[column]) for column in SOFT_COLUMNS], axis=1)
    names = np.array([outcome.value for outcome in OUTCOMES], dtype=object)
    winner = names[np.where(np.isnan(soft), -np.inf, soft).argmax(axis=1)]
    winner[np.isnan(soft).all(axis=1)] = None
    return frame.assign(winner=pd.Series(winner, index=frame.index, dtype=object))


def _renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Rename columns, unless the table already has a column of the new name."""
    return frame.rename(columns={old: new for old, new in names.items() if new not in frame.columns})


def _list_or_none(text: object) -> object:
    """Return the list that a text spells, as JSON or as Python writes it; any other value unchanged."""
    return parse_list(text) if isinstance(text, str) else text


def _winner_of_label(label: object, pair: tuple[str, str], models: list[str], row: int) -> str | None:
    label = parse_list(label) if isinstance(label, str) else label
    if not isinstance(label, LISTS) or len(label) not in (2, 3):
        return None
    try:
        first, second, tie = (int(number) for number in (*label, 0)[:3])
    except (TypeError, ValueError):  # null, NaN, text
        return None
    if not all(0 <= index < len(models) for index in (first, second)) or {models[first], models[second]} != set(pair):
        raise DataError(
            f"row {row}: labels {[first, second]} do not match its models {pair[0]!r} and {pair[1]!r}. Labels are "
            f"positions in the sorted list of all models of the original table ({len(models)} in this one); "
            "if rows of that table are missing here, add a winner column"
        )
    if tie == 0:
        return Outcome.MODEL_A.value if models[first] == pair[0] else Outcome.MODEL_B.value
    return _TIE_LABELS.get(tie)
