"""Print tables to a terminal, or to a file that cuts nothing."""

import os

from rich.console import Console

_WIDE = 400  # characters, more than any table needs


def table_console() -> Console:
    """Return a console as wide as the terminal; as wide as its tables need if the output is redirected."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)
