"""Convert public vote releases to the columns of a vote table; rows keep their number and order.

A vote table has ``prompt`` (a string, or a list of user turns), ``model_a``, ``model_b`` and ``winner`` (the values of
``p2l.winner.Outcome``). It may have ``weight``, ``timestamp``, ``language``, ``category_tag``, ``conversation_id`` and
the soft vote ``p_model_a``, ``p_model_b``, ``p_tie``, ``p_both_bad`` (sum 1). An adapter leaves a value that it cannot
read missing, so that validation reports the row.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

import numpy as np
import pandas as pd

from p2l.data.column_values import as_text, decoded, text_of
from p2l.data.text_lists import is_chat, parse_list
from p2l.data.winner_labels import WinnerMap, read_winners
from p2l.errors import DataError
from p2l.winner import Outcome

SOFT_COLUMNS = ("p_model_a", "p_model_b", "p_tie", "p_both_bad")
Adapter = Callable[[pd.DataFrame], pd.DataFrame]
_ONE_HOT_COLUMNS = {
    "winner_model_a": Outcome.MODEL_A.value,
    "winner_model_b": Outcome.MODEL_B.value,
    "winner_tie": Outcome.TIE.value,
}
_NAMES = ("model_a", "model_b", "conversation_id", "evaluation_session_id", "question_id")
_LISTS = (list, tuple, np.ndarray)
_TIE_LABELS = {1: Outcome.TIE.value, 2: Outcome.BOTH_BAD.value}
# What a table may hold that one leaderboard needs
BATTLE_COLUMNS_OF_RELEASES = ("model_a", "model_b", "winner", "weight", *SOFT_COLUMNS, "p_b", *_ONE_HOT_COLUMNS)
# Training needs only the prompt of these; the answers are most of a release's memory.
_TEXTS_OF_ANSWERS = ["conversation_a", "conversation_b", "full_conversation", "response_a", "response_b"]


def adapt(
    frame: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
    scored: bool | None = None,
) -> pd.DataFrame:
    """Convert a known release, recognised by its columns, to the columns of a vote table.

    Known: arena-human-preference-55k (one-hot winners), -100k (conversations), -140k (content parts, ``both_bad``), the
    P2L training data (``labels``), judges' preferences ``p_b``; any other table is taken as a vote table. Names become
    text, chats in ``prompt`` their user turns, and spellings of winners the values of ``Outcome``; the texts of the
    answers are dropped; other columns stay unchanged. ``columns`` and ``winner_map`` as in ``p2l.data.load_votes``,
    ``scored`` as in ``read_winners``. Raises ``DataError`` if ``labels`` contradict the models of the table, or
    conversations cannot be read.
    """
    frame = _with_text_names(chosen_columns(frame, columns or {}))
    adapted = with_text_prompts(_adapter_of(frame.columns)(frame))
    answers = [name for name in _TEXTS_OF_ANSWERS if name in adapted.columns]
    return read_winners(adapted.drop(columns=answers) if answers else adapted, winner_map, scored=scored)


def _adapter_of(columns: Collection[str]) -> Adapter:
    columns = set(columns)
    if columns.issuperset({"prompt", *_ONE_HOT_COLUMNS}):
        return adapt_arena_55k
    if {"conversation_a", "evaluation_session_id"} <= columns:
        return adapt_arena_140k
    if "conversation_a" in columns:
        return adapt_arena_100k
    if {"labels", "model_a", "model_b"} <= columns:
        return adapt_p2l_training
    return adapt_judge if "p_b" in columns else _unchanged


def battle_adapter(columns: Collection[str]) -> Adapter | None:
    """Return how to convert rows of a table to battles without prompts, whose winners are still as the table spells
    them; None if that needs the whole table: ``labels`` are positions among all its models.
    """
    adapter = _adapter_of(columns)
    if adapter is adapt_p2l_training and "winner" not in columns:
        return None
    if adapter is adapt_arena_55k:
        return _with_one_winner
    return adapt_judge if adapter is adapt_judge else _unchanged


def _unchanged(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def chosen_columns(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Rename the columns that the caller names, in place of any that have the new name."""
    if not columns:
        return frame
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


def with_text_prompts(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace chats in ``prompt`` by their user turns, and numbers and bytes by their text."""
    if "prompt" not in frame.columns or isinstance(frame["prompt"].dtype, pd.StringDtype):
        return frame
    values = frame["prompt"].tolist()
    kinds = set(map(type, values))
    firsts = {type(value[0]) for value in values if isinstance(value, _LISTS) and len(value)} if kinds - {str} else {}
    if dict not in firsts and not any(issubclass(kind, (bytes, int, float, Decimal, np.number)) for kind in kinds):
        return frame
    return frame.assign(prompt=pd.Series([_prompt(value) for value in values], index=frame.index, dtype=object))


def _prompt(value: object) -> object:
    if is_chat(value):
        return user_turns(value)
    if isinstance(value, bytes):
        return decoded(value)
    if isinstance(value, (int, float, Decimal, np.number)) and not isinstance(value, bool):
        return text_of(value)
    return value


def adapt_arena_55k(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert lmarena-ai/arena-human-preference-55k: prompts are JSON lists of turns, winners three 0/1 columns."""
    prompt = [_turns_of_json(text) for text in frame["prompt"]]
    return _with_one_winner(frame.assign(prompt=pd.Series(prompt, index=frame.index, dtype=object)))


def _with_one_winner(frame: pd.DataFrame) -> pd.DataFrame:
    flags = frame[list(_ONE_HOT_COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy()
    one_hot = np.isin(flags, (0, 1)).all(axis=1) & (flags.sum(axis=1) == 1)
    names = np.array(list(_ONE_HOT_COLUMNS.values()), dtype=object)
    winner = np.where(one_hot, names[np.nan_to_num(flags).argmax(axis=1)], None)
    return frame.drop(columns=list(_ONE_HOT_COLUMNS)).assign(winner=winner)


def adapt_arena_100k(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert lmarena-ai/arena-human-preference-100k: user turns of ``conversation_a``, time in ``tstamp``."""
    prompt = _user_turns(frame["conversation_a"])
    names = {"tstamp": "timestamp", "question_id": "conversation_id"}
    return _renamed(frame, names).assign(prompt=pd.Series(prompt, index=frame.index, dtype=object))


def adapt_arena_140k(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert lmarena-ai/arena-human-preference-140k: content is a list of parts; a session holds several votes.

    ``conversation_a`` holds the turns of this vote alone. ``full_conversation`` also holds those before it, which both
    models had read: its user turns are the prompt, if the column is present.
    """
    prompt = _user_turns(frame["conversation_a"])
    if "full_conversation" in frame.columns:
        full = (_session_turns(conversation) for conversation in frame["full_conversation"])
        prompt = [whole or last for whole, last in zip(full, prompt, strict=True)]
    return _renamed(frame, {"evaluation_session_id": "conversation_id"}).assign(
        prompt=pd.Series(prompt, index=frame.index, dtype=object)
    )


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
    """Convert a judge's preference ``p_b`` in [0, 1] for model_b (AlpacaEval) to a soft vote, and a winner if none."""
    p_b = pd.to_numeric(frame["p_b"], errors="coerce")
    soft = dict(zip(SOFT_COLUMNS, (1 - p_b, p_b, p_b * 0, p_b * 0), strict=True))
    adapted = frame.assign(**soft)
    if "winner" in frame.columns:
        return adapted
    names = {-1.0: Outcome.MODEL_A.value, 0.0: Outcome.TIE.value, 1.0: Outcome.MODEL_B.value}
    return adapted.assign(winner=np.sign(p_b - 0.5).map(names))


def _renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Rename columns, unless the table already has a column of the new name."""
    return frame.rename(columns={old: new for old, new in names.items() if new not in frame.columns})


def _list_or_none(text: object) -> object:
    """Return the list that a text spells, as JSON or as Python writes it; any other value unchanged."""
    return parse_list(text) if isinstance(text, str) else text


def _turns_of_json(prompt: object) -> object:
    """Parse a prompt written as a JSON list of turns; return any other text unchanged."""
    turns = _list_or_none(prompt)
    return turns if isinstance(turns, _LISTS) else prompt


def _messages(conversation: object) -> list[object] | None:
    """Return a conversation as a list of messages; some copies of the releases hold it as JSON text."""
    messages = _list_or_none(conversation)
    return list(messages) if isinstance(messages, _LISTS) else None


def _user_turns(column: pd.Series) -> list[list[object] | None]:
    """Return the user turns of each conversation; DataError if no conversation of the column can be read."""
    turns = []
    for row, conversation in enumerate(column):
        try:
            turns.append(user_turns(conversation))
        except DataError as error:
            raise DataError(f"column {column.name}, row {row}: {error}") from None
    present = np.flatnonzero(column.notna())
    if present.size and all(turns[row] is None for row in present):
        raise DataError(
            f"column {column.name}: expected a list of messages with role and content, or its text as JSON or as "
            f"Python writes it; row {present[0]} holds {str(column.iloc[present[0]])[:80]!r}"
        )
    return turns


def user_turns(conversation: object) -> list[object] | None:
    """Return the text of the user's messages of a chat; None if it is not a list of messages."""
    messages = _messages(conversation)
    if messages is None:
        return None
    return [_text(_field(message, "content")) for message in messages if _field(message, "role") == "user"]


def _session_turns(conversation: object) -> list[object] | None:
    turns = _messages(conversation)
    return None if turns is None else [_text(_field(_field(turn, "user"), "content")) for turn in turns]


def _text(content: object) -> object:
    """Return the text of a message's content: the string, or its text parts; other parts are ignored."""
    if not isinstance(content, _LISTS):
        return content
    texts = [_field(part, "text") for part in content]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _field(message: object, name: str) -> object:
    return message.get(name) if isinstance(message, dict) else None


def _winner_of_label(label: object, pair: tuple[str, str], models: list[str], row: int) -> str | None:
    label = _list_or_none(label)
    if not isinstance(label, _LISTS) or len(label) not in (2, 3):
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
