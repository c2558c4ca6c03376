"""Write a leaderboard to a file, in the format that the file's ending names."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from p2l.errors import ConfigError
from p2l.files import whole_file
from p2l.json_output import write_json_table

_TABLES: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".json": lambda table, path: _write_json(table, path, lines=False),
    ".jsonl": lambda table, path: _write_json(table, path, lines=True),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}
_PICTURES = (".png", ".svg", ".pdf")


def save_leaderboard(path: str | Path, table: Callable[[], pd.DataFrame], plot: Callable[[], Any]) -> Path:
    """Write the table (.csv, .json, .jsonl, .parquet) or the picture (.png, .svg, .pdf); return the path.

    The file appears whole or not at all; missing folders are made. ``ConfigError`` for any other ending.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (*_TABLES, *_PICTURES):
        raise ConfigError(f"cannot save a leaderboard as {path.name!r}: expected {', '.join((*_TABLES, *_PICTURES))}")
    with whole_file(path) as part:
        if ending in _TABLES:
            _TABLES[ending](_with_warning(table()), part)
        else:
            plot().savefig(part, dpi=120, format=ending[1:])
    return path


def _with_warning(table: pd.DataFrame) -> pd.DataFrame:
    """Add the warning of a checkpoint as a column, which every format can hold."""
    return table.assign(warning=table.attrs["warning"]) if "warning" in table.attrs else table


def _write_json(table: pd.DataFrame, path: Path, *, lines: bool) -> None:
    with path.open("x", encoding="utf-8") as file:
        write_json_table(table, file, lines=lines)


def leaderboard_html(title: str, table: pd.DataFrame, top: int = 20) -> str:
    """Return the best ``top`` rows as HTML, under a title that holds no markup."""
    more = f"<p>{len(table) - top} more: <code>.table()</code></p>" if len(table) > top else ""
    shown = table.head(top).to_html(index=False, float_format="{:.3f}".format, border=0)
    warning = table.attrs.get("warning")
    note = f"<p><strong>Warning: {escape(warning)}.</strong></p>" if warning else ""
    return f"{note}<p>{title}</p>{shown}{more}"
