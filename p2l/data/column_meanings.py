"""The columns that p2l reads of a table of votes, and names of columns that only look like them."""

import logging
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from p2l.data.column_advice import without_signs
from p2l.data.one_hot_winners import ONE_HOT_COLUMNS
from p2l.errors import DataError

log = logging.getLogger(__name__)

# what a table of votes may hold, and what only public releases call otherwise
OPTIONAL: tuple[str, ...] = (
    *("weight", "timestamp", "language", "category_tag", "conversation_id"),
    *("p_b", "p_model_a", "p_model_b", "p_tie", "p_both_bad"),
)
RELEASES: tuple[str, ...] = (
    *("labels", "evaluation_session_id", "question_id", "tstamp", "is_code", "judge", "id", "annotator"),
    *("conversation_a", "conversation_b", "full_conversation", "response_a", "response_b"),
    *ONE_HOT_COLUMNS,
)
_REQUIRED = ("prompt", "model_a", "model_b", "winner")
# names of releases, and the column that says the same
_MEANING = {
    **dict.fromkeys(("labels", *ONE_HOT_COLUMNS), "winner"),
    **dict.fromkeys(("conversation_a", "conversation_b", "full_conversation"), "prompt"),
    **dict.fromkeys(("evaluation_session_id", "question_id", "id"), "conversation_id"),
    "tstamp": "timestamp",
}
_OTHER_NAMES = {
    "weight": ("weights",),
    "timestamp": (
        *("timestamps", "time", "times", "date", "dates", "datetime", "created", "createdat", "createdtime"),
        *("creationtime", "creationdate", "dateadded", "submittedat", "votedat", "unixtime"),
    ),
    "conversation_id": ("conversationids",),
}
_TYPO, _LONG = 0.9, 6  # of a name of so many letters: timestmp


def check_meanings(meanings: Collection[str], columns: Collection[object]) -> None:
    """Raise DataError for a key of ``columns`` that is nearly the name of a column that p2l reads.

    Others are allowed: categories may stand in a column of any name. Nearer names count if the table, which has
    ``columns``, holds what p2l reads there.
    """
    there = {*meanings, *columns}
    missed = [name for name in (*_REQUIRED, *OPTIONAL, *_MEANING) if not {name, _MEANING.get(name, name)} & there]
    for meaning in meanings:
        if meaning in (*_REQUIRED, *OPTIONAL, *RELEASES):
            continue
        name = meaning.casefold()
        near = get_close_matches(name, (*_REQUIRED, *OPTIONAL), 1, 0.9) or get_close_matches(name, missed, 1, 0.75)
        if near:
            raise DataError(f"columns: p2l reads no column {meaning!r}; did you mean {near[0]!r}?")


def unread_columns(columns: Collection[object], meanings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a doubt for each column that p2l would read under its usual name, such as ``Weight``.

    ``meanings``: the option ``columns``, whose columns are read.
    """
    read = (meanings or {}).values()
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(without_signs(str(column)), str(column))
    for meaning in OPTIONAL:
        names = dict.fromkeys((without_signs(meaning), *_OTHER_NAMES.get(meaning, ())))
        names |= dict.fromkeys(get_close_matches(meaning, plain, cutoff=_TYPO) if len(meaning) >= _LONG else ())
        for column in (plain[name] for name in names if name in plain):
            if meaning not in (*columns, *(meanings or ())) and column not in (*read, *OPTIONAL, *RELEASES):
                yield f"the column {column!r} is not read; if it is {meaning}, give columns={{{meaning}: {column}}}"


def warn_of_unread_columns(columns: Collection[object], meanings: Mapping[str, str] | None, source: str | None) -> None:
    """Log what ``unread_columns`` yields."""
    for doubt in unread_columns(columns, meanings):
        log.warning("%s%s", f"{source}: " if source else "", doubt)
