"""Read the labels of a ``winner`` column: the four outcomes, their common spellings, and names of the models."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool

from p2l.data.column_values import Names, factorize, text_of
from p2l.data.skip_report import UNKNOWN_WINNER, SkipCounts, SkipReport, advise_labels, shown_counts
from p2l.errors import ConfigError, DataError
from p2l.winner import OUTCOMES, Outcome

log = logging.getLogger(__name__)

# Letters and digits of a label in lower case -> outcome
SPELLINGS = {
    **dict.fromkeys(("modela", "a", "left", "responsea", "assistanta", "modelawins", "awins"), Outcome.MODEL_A.value),
    **dict.fromkeys(("modelb", "b", "right", "responseb", "assistantb", "modelbwins", "bwins"), Outcome.MODEL_B.value),
    **dict.fromkeys(("tie", "tied", "draw", "bothgood", "tiebothgood"), Outcome.TIE.value),
    **dict.fromkeys(("bothbad", "tiebothbad"), Outcome.BOTH_BAD.value),
}
# Signs that a spelling may hold: others, such as ! ~ < and marks of letters, can mean "not"
_PUNCTUATED = re.compile(r"""[\w\s()\[\]{}"'`“”‘’*.,:;\u2010-\u2015\u200b\ufeff-]+""")
# A minus, which is no hyphen or dash between words
_DASH = r"\u2010-\u2015-"
_MINUS = re.compile(rf"(^|[^\w\s{_DASH}])\s*[{_DASH}]|[{_DASH}]\s*($|[^\w\s(\[{_DASH}])")
# Score of model a -> outcome; read only beside 0.5, because 0 and 1 alone may also mean the first and second model
_TIE = 0.5
_LABELS_SHOWN = 8
_EXACT = 2.0**53
SCORES = {1.0: Outcome.MODEL_A.value, 0.0: Outcome.MODEL_B.value, _TIE: Outcome.TIE.value}
_FLAGS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}  # YAML reads all of these as flags
WinnerMap = Mapping[Any, str | None]  # labels that are numbers in a file are compared as text


class AmbiguousWinnerError(DataError):
    """A label that is both a side and the name of a model on the other side; ``row`` is the first such row."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row}: {problem}")
        self.row, self.problem = row, problem


def has_scores(winners: pd.Series) -> bool:
    """Whether one of the labels is the score of a tie, so that 1 and 0 are scores of model a too."""
    labels = (text_of(value) for value in factorize(winners)[1] if pd.api.types.is_scalar(value))
    return any(label is not None and _score(label) == _TIE for label in labels)


def read_winners(
    frame: pd.DataFrame, winner_map: WinnerMap | None = None, *, scored: bool | None = None
) -> pd.DataFrame:
    """Return the table with its winners as values of ``Outcome``; unknown labels stay, for validation to report.

    ``winner_map`` gives the outcome of further labels, in any case and numbers by value; null leaves their votes out.
    ``scored`` says whether 1 and 0 are scores, if these rows are a part of a table; by default they are beside 0.5.
    Raises ``DataError`` if a label is both a side and a model's name, and these differ.
    """
    if "winner" not in frame.columns:
        return frame
    codes, values = factorize(frame["winner"])
    labels = [text_of(value) if pd.api.types.is_scalar(value) else None for value in values]
    given = _given(winner_map or {})
    if scored is None:  # the whole table
        _warn_unused(winner_map or {}, labels)
        scored = has_scores(frame["winner"])
    outcomes = _outcomes(labels, given, scored)
    changed = [label is not None and outcome != label for label, outcome in zip(labels, outcomes, strict=True)]
    changed = [flag or (isinstance(value, str) and value != value.strip()) for flag, value in zip(changed, values)]
    names = _names_of_labels(labels, outcomes, _model_names(frame))
    by_name = [index for index, label in enumerate(labels) if names[index] and not _is_given(label, given)]
    if not any(changed) and not by_name:
        return frame
    new = [
        outcome if flag and (outcome is not None or _is_given(label, given)) else value
        for flag, outcome, label, value in zip(changed, outcomes, labels, values, strict=True)
    ]
    winner = np.array([*new, None], dtype=object)[codes]
    for index in by_name:
        for name in names[index]:
            _set_by_name(winner, frame, codes == index, cast(str, labels[index]), outcomes[index], name)
    return frame.assign(winner=pd.Series(winner, index=frame.index, dtype=object))


def check_labels(report: SkipReport | SkipCounts, max_skipped_share: float, source: str) -> None:
    """Raise ``DataError``, naming ``source``, if rows were left out for an unknown label, whatever their share.

    With ``max_skipped_share`` 1 they are only reported.
    """
    if UNKNOWN_WINNER in report.counts and max_skipped_share < 1:
        count = report.counts[UNKNOWN_WINNER]
        raise DataError(
            f"{source}: unknown labels in column winner, {count:,} of {report.total:,} rows: "
            f"{shown_counts(report.details.get(UNKNOWN_WINNER, {}))}. {advise_labels(report)}"
        )


def _outcomes(labels: Sequence[str | None], given: Mapping[str, str | None], scored: bool) -> list[str | None]:
    """Return the outcome of each label; None if it has none."""
    found: list[str | None] = []
    for label in labels:
        if label is None:
            found.append(None)
        elif _is_given(label, given):
            found.append(given[label] if label in given else given[_canonical(label)])
        elif scored and _score(label) in SCORES:
            found.append(SCORES[cast(float, _score(label))])
        else:
            found.append(SPELLINGS.get(_plain(label)))
    return found


def _plain(label: str) -> str:
    """Return the letters and digits of a label in lower case; a label with signs that may say more as it is."""
    return _letters(label) if _PUNCTUATED.fullmatch(label) and not _MINUS.search(label) else label


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _given(winner_map: WinnerMap) -> dict[str, str | None]:
    """Return the outcomes of a map by the text of each label, and by ``_canonical`` unless that is a label too."""
    items = sorted(winner_map.items(), key=lambda item: not isinstance(item[0], bool))  # a text outdoes a flag
    given = {text: _known(label, outcome) for label, outcome in items for text in _texts(label)}
    return {_canonical(label): outcome for label, outcome in given.items()} | given


def _texts(label: object) -> Sequence[str]:
    """Return the texts that a label of a map stands for: of a flag, the words that YAML makes a flag of."""
    return _FLAGS[label] if isinstance(label, bool) else (text_of(label) or str(label),)


def _is_given(label: str | None, given: Mapping[str, str | None]) -> bool:
    return label is not None and (label in given or _canonical(label) in given)


def _canonical(label: str) -> str:
    """Return a label in lower case, and a whole number as an integer: 1.0 is 1."""
    number = _score(label)
    is_whole = number is not None and number.is_integer() and abs(number) < _EXACT
    return str(int(cast(float, number))) if is_whole else label.casefold()


def _warn_unused(winner_map: WinnerMap, labels: Sequence[str | None]) -> None:
    """Warn about labels that are not in the table, if votes that they meant would be read otherwise.

    These are labels that leave votes out, and known spellings; any other label of the table without an outcome is an
    error.
    """
    own = [label for label in labels if label is not None]
    known = {_canonical(label) for label in own}
    for label, outcome in winner_map.items():
        texts = list(map(_canonical, _texts(label)))
        if not known & set(texts) and (outcome is None or any(_plain(text) in SPELLINGS for text in texts)):
            shown = ", ".join(map(repr, own[:_LABELS_SHOWN])) + (", ..." if len(own) > _LABELS_SHOWN else "")
            log.warning("winner_map: no winner of the table is %r; they are %s", label, shown)


def _known(label: object, outcome: str | None) -> str | None:
    known = [None, *(outcome.value for outcome in OUTCOMES), "both_bad"]
    if outcome not in known:
        raise ConfigError(f"winner_map: {label!r} becomes {outcome!r}; choose one of {', '.join(map(str, known))}")
    return Outcome.BOTH_BAD.value if outcome == "both_bad" else outcome


def _score(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _model_names(frame: pd.DataFrame) -> set[str]:
    sides = [Names.of(frame[side]).values for side in ("model_a", "model_b") if side in frame.columns]
    return {name for values in sides for name in values if name is not None}


def _names_of_labels(labels: Sequence[str | None], outcomes: Sequence[str | None], names: set[str]) -> list[list[str]]:
    """Return the models that each label may name: that of its text, else those that are spelt like its outcome."""
    spelt = {name: letters for name in names if (letters := _letters(name)) in SPELLINGS}
    found: list[list[str]] = []
    for label, outcome in zip(labels, outcomes, strict=True):
        own = [label] if label is not None and label in names else []
        if label is not None and outcome is not None and (end := _letters(label)):
            like = [name for name, letters in spelt.items() if letters.endswith(end) and name != label]
            own += [name for name in sorted(like) if SPELLINGS[spelt[name]] == outcome]
        found.append(own)
    return found


def _set_by_name(
    winner: np.ndarray, frame: pd.DataFrame, rows: Bool[np.ndarray, " votes"], label: str, side: str | None, name: str
) -> None:
    """Set the outcome of the rows whose label names a model of theirs, in the spelling ``name``."""
    is_a, is_b = _rows_of_name(frame, name)
    if name != label:  # but not if the other model has the very name
        rows = rows & ~np.logical_or(*_rows_of_name(frame, label))
    found, rows_of_name = np.where(is_a, "model_a", "model_b"), rows & (is_a | is_b)
    if side is None:
        winner[rows_of_name] = found[rows_of_name]
        return
    other = np.flatnonzero(rows_of_name & (found != side))
    if other.size:
        which = "the model of that name" if name == label else f"the model {name!r}"
        raise AmbiguousWinnerError(
            int(other[0]),
            f"the winner {label!r} may mean {side} or {which}, which is {found[other[0]]} there; "
            f"say which with winner_map={{{label}: {side}}}, in training data.winner_map=..., or rename the model",
        )


def _rows_of_name(frame: pd.DataFrame, name: str) -> list[Bool[np.ndarray, " votes"]]:
    """Mark the rows whose model a, and those whose model b, has a name."""
    nobody = np.zeros(len(frame), dtype=bool)
    return [
        Names.of(frame[side]).positions([name]) == 0 if side in frame.columns else nobody
        for side in ("model_a", "model_b")
    ]
