"""Draw leaderboards."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

PANEL_WIDTH, ROW_HEIGHT = 5.2, 0.28


def plot_leaderboards(titles: Sequence[str], tables: Sequence[pd.DataFrame], *, top: int = 15) -> Figure:
    """Draw bars of Elo points, one panel for each leaderboard; a model has the same colour in every panel."""
    names = sorted({name for table in tables for name in table["model"]})
    colours = [colormaps[palette](i) for palette in ("tab20", "tab20b") for i in range(20)]
    colour = {name: colours[i % len(colours)] for i, name in enumerate(names)}
    rows = min(top, max(len(table) for table in tables))
    figure = Figure(figsize=(PANEL_WIDTH * len(tables), 1.2 + ROW_HEIGHT * rows), layout="constrained")
    for axis, title, table in zip(figure.subplots(1, len(tables), squeeze=False)[0], titles, tables, strict=True):
        best = table.head(top)
        axis.barh(best["model"], best["elo"], color=[colour[name] for name in best["model"]])
        axis.invert_yaxis()
        axis.set_title(shorten(title, 60, placeholder=" ..."), fontsize=10, parse_math=False)  # "$" is a dollar
        axis.set_xlabel("Elo points above the mean model")
        axis.axvline(0, color="black", linewidth=0.6)
        axis.tick_params(axis="y", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_intervals(table: pd.DataFrame, *, title: str = "", level: float = 0.95, top: int = 60) -> Figure:
    """Draw the table of a fit: Elo points with intervals, best model on top, and the range of its rank."""
    shown = table.head(top)
    figure = Figure(figsize=(8.5, max(3.0, 1.4 + 0.2 * len(shown))), layout="constrained")
    axis = figure.subplots()
    place = range(len(shown))
    error = [shown["elo"] - shown["elo_low"], shown["elo_high"] - shown["elo"]]
    axis.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    axis.errorbar(shown["elo"], place, xerr=error, fmt="o", markersize=4, color="#1f5fa8", ecolor="#8fb3d9", capsize=2)
    axis.set_yticks(place, shown["model"], fontsize=7, parse_math=False)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    ranks = axis.secondary_yaxis("right")
    ranks.set_yticks(place, [_range(row) for row in shown.itertuples()], fontsize=7)
    ranks.set_ylabel("range of ranks", fontsize=8)
    axis.set_xlabel(f"Elo points above the mean model, with {level:.0%} intervals")
    axis.set_title(shorten(title, 80, placeholder=" ..."), fontsize=10, parse_math=False)
    axis.grid(axis="x", color="0.92")
    axis.spines[["top", "left"]].set_visible(False)
    return figure


def _range(row: Any) -> str:
    return str(row.rank_best) if row.rank_best == row.rank_worst else f"{row.rank_best} to {row.rank_worst}"
