"""Public vote releases, each brought into the columns of a vote table; rows keep their number and order.

A vote table has ``prompt`` (a string, or a list of user turns), ``model_a``, ``model_b`` and ``winner`` (the values of
``p2l.types.Outcome``). It may have ``weight``, ``timestamp``, ``language``, ``category_tag``, ``conversation_id`` and
the soft vote ``p_model_a``, ``p_model_b``, ``p_tie``, ``p_both_bad`` (sum 1). What an adapter cannot read in a row it
leaves missing, so that validation counts that row and says where it is.
"""

import json

import numpy as np
import pandas as pd

from p2l.data.readers import parse_json
from p2l.errors import DataError
from p2l.types import Outcome

SOFT_COLUMNS = ("p_model_a", "p_model_b", "p_tie", "p_both_bad")
_ONE_HOT_COLUMNS = {
    "winner_model_a": Outcome.MODEL_A.value,
    "winner_model_b": Outcome.MODEL_B.value,
    "winner_tie": Outcome.TIE.value,
}
_LISTS = (list, tuple, np.ndarray)
_TIE_LABELS = {1: Outcome.TIE.value, 2: Outcome.BOTH_BAD.value}
# The prompt holds what training needs of these; the answers are most of a release's memory.
_TEXTS_OF_ANSWERS = ["conversation_a", "conversation_b", "full_conversation", "response_a", "response_b"]


def adapt(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring one of the known releases, recognised by its columns, into the columns of a vote table.

    Known: arena-human-preference-55k (one-hot winners), -100k (conversations), -140k (content parts, ``both_bad``), the
    P2L training data (``labels``), judges' preferences ``p_b``; anything else counts as a vote table already. The
    answers' texts are dropped, other columns are left as they are. Raises ``DataError`` where ``labels`` and the
    table's models contradict each other.
    """
    columns = set(frame.columns)
    if columns.issuperset({"prompt", *_ONE_HOT_COLUMNS}):
        adapted = adapt_arena_55k(frame)
    elif {"conversation_a", "evaluation_session_id"} <= columns:
        adapted = adapt_arena_140k(frame)
    elif "conversation_a" in columns:
        adapted = adapt_arena_100k(frame)
    elif {"labels", "model_a", "model_b"} <= columns:
        adapted = adapt_p2l_training(frame)
    elif "p_b" in columns:
        adapted = adapt_judge(frame)
    else:
        adapted = frame
    return _with_published_winners(adapted.drop(columns=_TEXTS_OF_ANSWERS, errors="ignore"))


def adapt_arena_55k(frame: pd.DataFrame) -> pd.DataFrame:
    """lmarena-ai/arena-human-preference-55k: the prompt is a JSON list of turns, the winner three 0/1 columns."""
    flags = frame[list(_ONE_HOT_COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy()
    one_hot = np.isin(flags, (0, 1)).all(axis=1) & (flags.sum(axis=1) == 1)
    names = np.array(list(_ONE_HOT_COLUMNS.values()), dtype=object)
    winner = np.where(one_hot, names[np.nan_to_num(flags).argmax(axis=1)], None)
    prompt = [_turns_of_json(text) for text in frame["prompt"]]
    return frame.drop(columns=list(_ONE_HOT_COLUMNS)).assign(
        prompt=pd.Series(prompt, index=frame.index, dtype=object), winner=winner
    )


def adapt_arena_100k(frame: pd.DataFrame) -> pd.DataFrame:
    """lmarena-ai/arena-human-preference-100k: prompts are the user turns of ``conversation_a``, time is ``tstamp``."""
    prompt = [user_turns(conversation) for conversation in frame["conversation_a"]]
    names = {"tstamp": "timestamp", "question_id": "conversation_id"}
    return _renamed(frame, names).assign(prompt=pd.Series(prompt, index=frame.index, dtype=object))


def adapt_arena_140k(frame: pd.DataFrame) -> pd.DataFrame:
    """lmarena-ai/arena-human-preference-140k: content is a list of parts, and one session holds several votes.

    ``conversation_a`` holds the turns of this vote alone and ``full_conversation`` also those before it, which both
    models had read: the prompt is all the user turns of ``full_conversation``, where it is there.
    """
    prompt = [user_turns(conversation) for conversation in frame["conversation_a"]]
    if "full_conversation" in frame.columns:
        full = (_session_turns(conversation) for conversation in frame["full_conversation"])
        prompt = [whole or last for whole, last in zip(full, prompt, strict=True)]
    return _renamed(frame, {"evaluation_session_id": "conversation_id"}).assign(
        prompt=pd.Series(prompt, index=frame.index, dtype=object)
    )


def adapt_p2l_training(frame: pd.DataFrame) -> pd.DataFrame:
    """The P2L training format: ``labels`` [winner, loser] or [first, second, t], t = 0 first won, 1 tie, 2 both bad.

    The indices point into the table's own models, unique and sorted. A ``winner`` column, where there is one, wins over
    the labels: published tables label both-bad votes as ties (t = 1) and tell them apart in ``winner`` only.
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
    """A judge's preference ``p_b`` in [0, 1] for model_b (AlpacaEval): a soft vote, and a winner if none is given."""
    p_b = pd.to_numeric(frame["p_b"], errors="coerce")
    soft = dict(zip(SOFT_COLUMNS, (1 - p_b, p_b, p_b * 0, p_b * 0), strict=True))
    adapted = frame.assign(**soft)
    if "winner" in frame.columns:
        return adapted
    names = {-1.0: Outcome.MODEL_A.value, 0.0: Outcome.TIE.value, 1.0: Outcome.MODEL_B.value}
    return adapted.assign(winner=np.sign(p_b - 0.5).map(names))


def _with_published_winners(frame: pd.DataFrame) -> pd.DataFrame:
    """Arena's newer releases write ``both_bad`` for the older ``tie (bothbad)``."""
    if "winner" not in frame.columns:
        return frame
    both_bad = frame["winner"].astype(str) == "both_bad"
    if not both_bad.any():
        return frame
    return frame.assign(winner=frame["winner"].astype(object).mask(both_bad, Outcome.BOTH_BAD.value))


def _renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Rename columns, unless the table has a column of the new name already."""
    return frame.rename(columns={old: new for old, new in names.items() if new not in frame.columns})


def _json_or_none(text: object) -> object:
    try:
        return parse_json(text) if isinstance(text, str) else text
    except json.JSONDecodeError:
        return None


def _turns_of_json(prompt: object) -> object:
    """The turns of a prompt written as a JSON list; any other text is one turn as it stands."""
    turns = _json_or_none(prompt)
    return turns if isinstance(turns, _LISTS) else prompt


def _messages(conversation: object) -> list[object] | None:
    """A conversation as a list of messages; some copies of the releases hold it as JSON text."""
    messages = _json_or_none(conversation)
    return list(messages) if isinstance(messages, _LISTS) else None


def user_turns(conversation: object) -> list[object] | None:
    messages = _messages(conversation)
    if messages is None:
        return None
    return [_text(_field(message, "content")) for message in messages if _field(message, "role") == "user"]


def _session_turns(conversation: object) -> list[object] | None:
    turns = _messages(conversation)
    return None if turns is None else [_text(_field(_field(turn, "user"), "content")) for turn in turns]


def _text(content: object) -> object:
    """The text of a message: itself, or its text parts; images and the like are left out."""
    if not isinstance(content, _LISTS):
        return content
    texts = [_field(part, "text") for part in content]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _field(message: object, name: str) -> object:
    return message.get(name) if isinstance(message, dict) else None


def _winner_of_label(label: object, pair: tuple[str, str], models: list[str], row: int) -> str | None:
    label = _json_or_none(label)
    if not isinstance(label, _LISTS) or len(label) not in (2, 3):
        return None
    try:
        first, second, tie = (int(number) for number in (*label, 0)[:3])
    except (TypeError, ValueError):  # null, NaN, text
        return None
    if not all(0 <= index < len(models) for index in (first, second)) or {models[first], models[second]} != set(pair):
        raise DataError(
            f"row {row}: labels {[first, second]} do not point at its models {pair[0]!r} and {pair[1]!r}. Labels are "
            f"positions in the sorted list of all models of the table they were made for ({len(models)} in this one); "
            "if rows of that table are missing here, give a winner column instead"
        )
    if tie == 0:
        return Outcome.MODEL_A.value if models[first] == pair[0] else Outcome.MODEL_B.value
    return _TIE_LABELS.get(tie)
