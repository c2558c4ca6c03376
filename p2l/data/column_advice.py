"""Suggest which columns of a table hold what a vote table needs."""

import re
import shlex
from collections.abc import Sequence

# other names of a column, without case, spaces and punctuation, the most telling first
ALIASES = {
    "prompt": (
        *("userprompt", "question", "query", "instruction", "input", "userinput", "request", "task", "text"),
        *("turns", "messages", "conversation"),
    ),
    "model_a": ("modela", "model1", "modelleft", "leftmodel", "llma", "llm1", "assistanta", "assistant1"),
    "model_b": ("modelb", "model2", "modelright", "rightmodel", "llmb", "llm2", "assistantb", "assistant2"),
    "winner": (
        *("preferred", "preference", "verdict", "choice", "chosen", "vote", "better", "best", "outcome", "result"),
        *("label", "judgment", "judgement", "winningmodel"),
    ),
}
TELLING_WORDS = {"prompt": ("prompt", "question"), "winner": ("winner", "preferred", "better", "best")}  # within a name
# words of names that tell a property of what a column is about, which is in another one
OTHER_WORDS = {
    *("id", "ids", "uid", "uuid", "key", "index", "idx", "nr", "no", "num", "number", "count", "hash", "time", "date"),
    *("length", "len", "tokens", "chars", "words", "language", "lang", "type", "category", "topic", "source"),
    *("score", "rating", "rank", "confidence", "reason", "explanation", "a", "b", "tie"),
}
UNKNOWN = "..."
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # of questionId
_PLAIN_VALUE = re.compile(r"[\w.+-]+( [\w.+-]+)*", re.ASCII)  # what an option of a command line takes without quotes


def advise_columns(missing: Sequence[str], columns: Sequence[str]) -> str:
    """Return the option that names these missing columns, with a guess of each; "..." stands for no guess.

    >>> advise_columns(["prompt", "winner"], ["Question", "Model A", "Model B", "Mark"])
    "For other names give 'columns={prompt: Question, winner: ...}', in training 'data.columns=...'"
    """
    names = ", ".join(f"{column}: {_value(_guess(column, columns))}" for column in missing)
    return f"For other names give {shlex.quote(f'columns={{{names}}}')}, in training 'data.columns=...'"


def _guess(column: str, columns: Sequence[str]) -> str:
    plain = {without_signs(name): name for name in reversed(columns)}
    exact = (plain[name] for name in (without_signs(column), *ALIASES.get(column, ())) if name in plain)
    whole = [name for name in columns if not OTHER_WORDS & set(_words(name))]
    worded = (name for word in TELLING_WORDS.get(column, ()) for name in whole if word in _words(name))
    return next(exact, None) or next(worded, UNKNOWN)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", _HUMP.sub(" ", name).casefold())


def _value(name: str) -> str:
    return name if name == UNKNOWN or _PLAIN_VALUE.fullmatch(name) else '"' + name.replace('"', '\\"') + '"'


def without_signs(name: str) -> str:
    """Return a name in lower case, without spaces and punctuation.

    >>> without_signs("Model_A ")
    'modela'
    """
    return re.sub(r"[\W_]+", "", name.casefold())
