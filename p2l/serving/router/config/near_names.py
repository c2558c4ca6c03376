"""The names that a mistyped name may mean."""

import difflib
from collections.abc import Iterable

MAX_SHOWN = 64  # characters of a client's name in an error


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three similar names, the nearest first."""
    by_lower = {each.lower(): each for each in known}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), list(by_lower), n=3)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'a' or 'b'?``, or nothing if no name is similar."""
    near = near_names(name[:MAX_SHOWN], known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
