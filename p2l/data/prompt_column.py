"""A column of prompts by its distinct prompts, with the flaw of each one that is not valid."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.skip_report import EMPTY_PROMPT, MISSING_VALUE, NON_STRING_TURN, Mask

_LISTS = (list, tuple, np.ndarray)


@dataclass(frozen=True)
class PromptColumn:
    """Row i holds the prompt ``unique[index[i]]``; distinct prompts are in order of appearance.

    A valid prompt is a tuple of user turns; of any other value the reason is kept, as text.
    """

    index: Int64[np.ndarray, " votes"]
    unique: list[tuple[str, ...] | str]

    @classmethod
    def of(cls, column: pd.Series) -> "PromptColumn":
        if isinstance(column.dtype, pd.StringDtype):  # a faster way to the same result
            index, values = pd.factorize(column, use_na_sentinel=False)
            return cls(index.astype(np.int64, copy=False), [_check_text(value) for value in values.tolist()])
        index, keys = _index_keys(column.tolist())
        return cls(index, [_check(key) for key in keys])

    def has_flaw(self, flaw: str) -> Mask:
        """Mark the rows with this flaw."""
        return np.array([prompt == flaw for prompt in self.unique], dtype=bool)[self.index]

    def select(self, rows: Any) -> tuple[Int64[np.ndarray, " selected"], tuple[tuple[str, ...], ...]]:
        """Index the prompts of some rows, all of them valid: positions, and the prompts in order of appearance."""
        index, used = pd.factorize(self.index[rows])
        return index.astype(np.int64, copy=False), tuple(self.unique[i] for i in used)


def _index_keys(values: Sequence[object]) -> tuple[Int64[np.ndarray, " values"], list[Hashable]]:
    """Number the values by order of appearance; lists of equal turns are one value."""
    seen: dict[Hashable, int] = {}
    try:
        index = [seen.setdefault(_key(value), len(seen)) for value in values]
    except TypeError:  # a turn is a dict, say: never valid, and one key serves for all of these
        seen = {}
        index = [seen.setdefault(_hashable_key(value), len(seen)) for value in values]
    return np.array(index, dtype=np.int64), list(seen)


def _key(value: object) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, _LISTS) else value


def _hashable_key(value: object) -> Hashable:
    key = _key(value)
    try:
        hash(key)
    except TypeError:
        return (None,)
    return key


def _check_text(value: object) -> tuple[str, ...] | str:
    return (value,) if isinstance(value, str) and value.strip() else _check(_key(value))


def _check(key: Hashable) -> tuple[str, ...] | str:
    """Return the turns of a prompt, or the reason why it is none."""
    if not isinstance(key, tuple):
        return MISSING_VALUE if key is None or pd.isna(key) is True else NON_STRING_TURN
    if not all(map(_is_text, key)):
        return NON_STRING_TURN
    return key if any(map(str.strip, key)) else EMPTY_PROMPT


def _is_text(turn: object) -> bool:
    return isinstance(turn, str)
