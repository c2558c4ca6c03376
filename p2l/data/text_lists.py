"""Lists that a text cell spells, as JSON or as Python writes them (``DataFrame.to_csv``)."""

import ast
import io
import json
import tokenize
import warnings
from itertools import pairwise
from typing import Final

import pandas as pd

from p2l.data.json_rows import DuplicateKeyError, parse_json
from p2l.errors import DataError

NO_LITERAL: Final = object()


def parse_list(text: str) -> list[object] | None:
    """Return the list that a text spells; None if it spells none.

    Raises ``DataError`` for the text of a NumPy array, which has no commas between its items, and for a key that stands
    twice in an object.
    """
    text = text.strip()
    value = parse_literal(text) if text.startswith("[") and text.endswith("]") else None
    return value if isinstance(value, list) else None


def parse_literal(text: str) -> object:
    """Return the value that a text spells, as JSON or as Python writes it; ``NO_LITERAL`` if it spells none.

    Raises ``DataError`` as ``parse_list`` does.
    """
    try:
        return parse_json(text)
    except (json.JSONDecodeError, RecursionError):
        return _python_value(text)


def read_lists(column: pd.Series) -> pd.Series:
    """Return a column with the lists that its text cells spell, as in a CSV file; other cells are unchanged."""
    return column.map(lambda value: parse_list(value) or value if isinstance(value, str) else value)


def _python_value(text: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # an escape that Python does not know
            tree = ast.parse(text, mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return NO_LITERAL
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
