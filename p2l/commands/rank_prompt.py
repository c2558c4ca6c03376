"""``p2l rank "<prompt>"``: print the leaderboard of one prompt."""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2l.errors import P2LError
from p2l.options import check_count

if TYPE_CHECKING:
    import pandas as pd

    from p2l.ranking import Leaderboard

READY = "p2l-minilm-general"


def main(arguments: Sequence[str]) -> int:
    """Rank the LLMs of a checkpoint for a prompt; exit status 2 if one of the two cannot be read."""
    options = parser().parse_args(arguments)
    try:
        check_count("--top", options.top)
        leaderboard = _load_and_rank(options.model_path, options.prompt)
    except P2LError as error:
        sys.stderr.write(f"p2l rank: {error}\n")
        return 2
    sys.stdout.write(show(leaderboard, options.top))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="p2l rank",
        description="Rank the LLMs of a checkpoint for one prompt. p2l predict ranks the prompts of a data set.",
    )
    parser.add_argument("prompt", help="one user turn")
    parser.add_argument(
        "--model-path",
        "-m",
        default=READY,
        help="checkpoint: a folder, one that p2l carries, or a hub id (%(default)s)",
    )
    parser.add_argument("--top", type=int, default=10, help="LLMs shown, of each group if there are any (%(default)s)")
    return parser


def show(leaderboard: "Leaderboard", top: int) -> str:
    """Return the warning of the checkpoint, if any, and the ``top`` rows of each panel as text."""
    parts = [f"Warning: this model is {leaderboard.warning}.\n"] if leaderboard.warning else []
    for title, table in leaderboard.panels().items():
        rows = table.head(top)
        shown = _with_short_intervals(rows) if "elo_low" in rows else rows
        text = shown.to_string(
            index=False, formatters={"coef": "{:+.3f}".format, "elo": "{:+.0f}".format, "win_rate": "{:.1%}".format}
        )
        more = f"\n... {len(table) - len(rows)} more: --top" if len(rows) < len(table) else ""
        parts.append(f"{title}\n{text}{more}\n")
    return "\n".join(parts)


def _with_short_intervals(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the columns of a table with intervals that a terminal has room for."""
    ranks = [
        f"{low}" if low == high else f"{low} to {high}" for low, high in zip(rows["rank_best"], rows["rank_worst"])
    ]
    elo = [f"[{low:+.0f}, {high:+.0f}]" for low, high in zip(rows["elo_low"], rows["elo_high"])]
    shown = rows[["rank", "model", "coef", "elo", "win_rate"]].copy()
    shown.insert(1, "ranks", ranks)
    shown.insert(5, "95 %", elo)
    return shown


def _load_and_rank(model_path: str, prompt: str) -> "Leaderboard":
    from transformers.utils.logging import disable_progress_bar

    from p2l.models import load_checkpoint

    disable_progress_bar()
    reader = logging.getLogger("p2l.models.checkpoint_reader")
    reader.disabled = True  # it logs the warning of the checkpoint, which the leaderboard shows
    try:
        return load_checkpoint(model_path).rank(prompt)
    finally:
        reader.disabled = False
