"""Lists that a text cell spells, as JSON or as Python writes them (``DataFrame.to_csv``)."""

import ast
import io
import json
import logging
import tokenize
from itertools import pairwise

import numpy as np
import pandas as pd

from p2l.data.json_rows import DuplicateKeyError, parse_json
from p2l.errors import DataError

log = logging.getLogger(__name__)

_MANY = 0.5  # above this share of lists, the cells that are no lists are the odd ones


def parse_list(text: str) -> list[object] | None:
    """Return the list that a text spells; None if it spells none.

    Raises ``DataError`` for the text of a NumPy array, which has no commas between its items, and for a key that stands
    twice in an object.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        value = parse_json(text)
    except (json.JSONDecodeError, RecursionError):
        value = _python_list(text)
    return value if isinstance(value, list) else None


def read_lists(column: pd.Series) -> pd.Series:
    """Return a column with the lists that its text cells spell, as in a CSV file; other cells are unchanged."""
    return column.map(lambda value: parse_list(value) or value if isinstance(value, str) else value)


def _python_list(text: str) -> object:
    try:
        tree = ast.parse(text, mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    for node in ast.walk(tree):
        keys = [ast.dump(key) for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
        if len(set(keys)) < len(keys):
            raise DuplicateKeyError(f"a key stands twice in one object, {ast.unparse(node)[:80]}; keep one")
    if repr(value) != text and _has_joined_strings(text):
        raise DataError(
            f"expected a list as JSON or as Python writes it; got the text of a NumPy array, {text[:80]!r}, which has "
            "no commas between its items; write lists (column.map(list)), JSON lines or parquet"
        )
    return value


def _has_joined_strings(text: str) -> bool:
    """Whether two string literals stand side by side, which Python joins to one."""
    skip = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in skip]
    return any(a == b == tokenize.STRING for a, b in pairwise(kinds))


def parse_prompts(column: pd.Series, name: str, source: str) -> pd.Series:
    """Return a text column of prompts with its cells parsed, if they spell lists of turns or of messages.

    If only a few cells do, they are text that looks like a list: a warning counts them. DataError if most but not all
    cells do.
    """
    texts = column.str.strip().str
    is_candidate = (texts.startswith("[") & texts.endswith("]")).to_numpy(dtype=bool, na_value=False)
    candidates = np.flatnonzero(is_candidate).tolist()
    if not candidates:
        return column
    parsed = {row: turns for row in candidates if (turns := _prompt_list(str(column.iloc[row]), name, source, row))}
    present = int(column.notna().sum())
    if len(parsed) == present:
        return pd.Series([parsed.get(row) for row in range(len(column))], index=column.index, dtype=object)
    if len(parsed) > _MANY * present:
        odd = next(row for row in np.flatnonzero(column.notna()) if row not in parsed)
        raise DataError(
            f"{source}, column {name}: {len(parsed):,} of {present:,} cells spell lists of turns, but row {odd} does "
            f"not: {str(column.iloc[odd])[:80]!r}; write every prompt as a list, or use JSON lines or parquet"
        )
    if parsed:
        log.warning(
            "%s, column %s: %d of %d cells look like lists (row %d first) and are read as text, as the others are; "
            "for turns write every prompt as a list, or use JSON lines or parquet",
            source,
            name,
            len(parsed),
            present,
            next(iter(parsed)),
        )
    return column


def _prompt_list(text: str, name: str, source: str, row: int) -> list[object] | None:
    """Return a non-empty list of strings or of messages, else None."""
    try:
        turns = parse_list(text)
    except DataError as error:
        raise DataError(f"{source}, column {name}, row {row}: {error}") from None
    if not turns or not (all(isinstance(turn, str) for turn in turns) or is_chat(turns)):
        return None
    return turns


def is_chat(value: object) -> bool:
    """Whether this is a non-empty list of messages: dicts with a role."""
    if not isinstance(value, (list, tuple, np.ndarray)) or not len(value):
        return False
    return all(isinstance(message, dict) and "role" in message for message in value)
