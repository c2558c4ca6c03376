"""Draw leaderboards."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2l.drawing import (
    best_of,
    finish,
    height_of_rows,
    key_below,
    message_figure,
    name_rows,
    new_figure,
    short_names,
    text_width,
    tidy,
    warn_above,
    wrapped,
)

PANEL_WIDTH, MOST_COLUMNS, MOST_PANELS = 5.2, 4, 12
INTERVAL_HEIGHT = 0.2
ONE_COLOUR, NO_COLOUR = "#1f5fa8", "#a6a6a6"
MOST_UNSETTLED = 12
UNSETTLED = "not settled by the votes"
WIDE_INTERVAL = 3.0  # times the median: few votes
WIDE_RANKS = 0.25  # share of the models


def plot_leaderboards(
    titles: Sequence[str], tables: Sequence[pd.DataFrame], *, top: int = 15, total: int | None = None
) -> Figure:
    """Draw bars of Elo points on one scale, one panel for each leaderboard; a model has the same colour in every panel.

    Lines over the bars are 95 % intervals, if the tables have them.

    At most ``MOST_PANELS`` are drawn; ``total`` is the number of leaderboards that the given ones were taken from. The
    caption states how many models and leaderboards are left out.
    """
    total = len(tables) if total is None else total
    titles, tables = titles[:MOST_PANELS], [table for table in tables[:MOST_PANELS] if len(table)]
    if not tables:
        return message_figure("There is no leaderboard to draw.")
    colours = _colours([table.head(top)["model"].tolist() for table in tables])
    columns = min(len(tables), MOST_COLUMNS)
    lines = -(-len(tables) // columns)
    rows = min(top, max(len(table) for table in tables))
    figure = new_figure(PANEL_WIDTH * columns, height_of_rows(rows) * lines)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for axis, title, table in zip(axes, titles, tables):
        _draw_bars(axis, title, table.head(top), colours)
    for axis in axes[len(tables) - columns : len(tables)]:
        axis.set_xlabel("Elo points above the mean model")
        axis.tick_params(axis="x", labelbottom=True)
    for axis in axes[len(tables) :]:
        axis.set_axis_off()
    models = max(len(table) for table in tables)
    some = f"first {len(tables):,} of {total:,} prompts" if len(tables) < total else ""
    warn_above(figure, tables[0].attrs.get("warning"))
    lines_are = "lines: 95 % intervals" if "elo_low" in tables[0] else ""
    key_below(figure, best_of(rows, models), some, lines_are)
    return finish(figure)


def _draw_bars(axis: Axes, title: str, best: pd.DataFrame, colours: dict[str, Any]) -> None:
    axis.barh(range(len(best)), best["elo"], color=[colours[name] for name in best["model"]])
    if "elo_low" in best:
        axis.hlines(range(len(best)), best["elo_low"], best["elo_high"], color="black", linewidth=1.0)
    name_rows(axis, range(len(best)), best["model"])
    room = PANEL_WIDTH - 0.3 - text_width(short_names(best["model"]), 8)
    axis.set_title(wrapped(title, room, 10), fontsize=10)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _colours(panels: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return a colour for each model, distinct for the 40 that stand in most panels; the others are grey."""
    of_panels = Counter(name for panel in panels for name in panel)
    if len(panels) == 1:
        return dict.fromkeys(of_panels, ONE_COLOUR)
    distinct = [colormaps[palette](i) for palette in ("tab20", "tab20b") for i in range(20)]
    most_first = [name for name, _ in of_panels.most_common()]
    return dict.fromkeys(most_first, NO_COLOUR) | dict(zip(most_first, distinct))


def plot_intervals(
    table: pd.DataFrame, *, title: str = "", level: float = 0.95, top: int = 60, notes: Sequence[str] = ()
) -> Figure:
    """Draw the table of a fit: Elo points with intervals, best model on top, and the range of its rank.

    Models that the votes do not settle (see ``unsettled``) stand below a line, and do not set the scale: an arrow marks
    an interval that goes on. ``notes`` stand below.
    """
    if table.empty:
        return message_figure("No model has votes.")
    loose = unsettled(table)
    settled = table[~loose] if not loose.all() else table
    apart = table[loose] if not loose.all() else table[:0]
    best, below = settled.head(top), apart.head(MOST_UNSETTLED)
    shown, places = pd.concat([best, below]), [*range(len(best)), *(len(best) + 1 + i for i in range(len(below)))]
    figure = new_figure(8.5, height_of_rows(len(places) + 2 * bool(len(below)), INTERVAL_HEIGHT))
    axis = figure.subplots()
    limits = _limits(best)
    _draw_intervals(axis, best, places[: len(best)], limits, "#1f5fa8", "#8fb3d9")
    _draw_intervals(axis, below, places[len(best) :], limits, "#777777", "#bbbbbb")
    name_rows(axis, places, shown["model"], 7)
    _write_ranks(axis, places, shown)
    if len(below):
        axis.axhline(len(best), color="0.6", linewidth=0.8, linestyle=":")
        axis.annotate(UNSETTLED, (limits[1], len(best)), fontsize=7, color="#777777", ha="right", va="top")
    axis.set_xlim(*limits)
    axis.set_xlabel(f"Elo points above the mean model, with {level:.0%} intervals")
    axis.set_title(wrapped(title, 5.5, 10), fontsize=10)
    key_below(figure, *_omissions(len(best), len(settled), len(below), len(apart)), notes=notes)
    return finish(figure)


def unsettled(table: pd.DataFrame) -> np.ndarray:
    """Return which rows of a fit's table have no place among the others.

    These are models whose strength the votes do not bound, models outside the largest part of the comparison graph, and
    models with few votes: the interval is ``WIDE_INTERVAL`` times the median, and allows ``WIDE_RANKS`` of the ranks.
    """
    width = (table["elo_high"] - table["elo_low"]).to_numpy()
    ranks = (table["rank_worst"] - table["rank_best"]).to_numpy()
    loose = np.zeros(len(table), dtype=bool)
    if "identified" in table:
        loose |= ~table["identified"].to_numpy(dtype=bool)
    if "component" in table:
        loose |= table["component"].to_numpy() > 0
    if not loose.all():
        wide = width > WIDE_INTERVAL * np.nanmedian(width[~loose])
        loose |= wide & (ranks >= max(2.0, WIDE_RANKS * len(table)))
    return loose


def _limits(best: pd.DataFrame) -> tuple[float, float]:
    low, high = float(np.nanmin(best[["elo", "elo_low"]])), float(np.nanmax(best[["elo", "elo_high"]]))
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def _draw_intervals(
    axis: Axes, rows: pd.DataFrame, places: Sequence[int], limits: tuple[float, float], colour: str, line: str
) -> None:
    """Draw points and intervals; arrows at the limits mark what lies outside."""
    elo, low, high = (rows[name].to_numpy(dtype=float) for name in ("elo", "elo_low", "elo_high"))
    at = np.array(places, dtype=float)
    axis.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    axis.hlines(at, low.clip(*limits), high.clip(*limits), color=line, linewidth=1.4, zorder=2)
    inside = (elo >= limits[0]) & (elo <= limits[1])
    if inside.any():
        axis.plot(elo[inside], at[inside], "o", markersize=4, color=colour, zorder=3)
    for outside, edge, marker in ((low < limits[0], limits[0], "<"), (high > limits[1], limits[1], ">")):
        if outside.any():
            axis.plot(
                np.full(int(outside.sum()), edge),
                at[outside],
                marker,
                markersize=5,
                color=colour,
                ls="",
                clip_on=False,
                zorder=3,
            )
    tidy(axis)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)


def _write_ranks(axis: Axes, places: Sequence[int], shown: pd.DataFrame) -> None:
    """Write the range of each model's rank on the right, under a heading."""
    ranks = axis.secondary_yaxis("right")
    ranks.set_yticks(places, [_range(row) for row in shown.itertuples()], fontsize=7)
    ranks.tick_params(length=0, pad=9)
    axis.annotate("rank", (1, 1), (6, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8)


def _omissions(best: int, settled: int, below: int, apart: int) -> list[str]:
    sentences = [best_of(best, settled, "settled models" if apart else "models")]
    if apart:
        few = "below the line: the votes do not settle the rank (few votes, no loss or no win, or not connected)"
        sentences += [few, "arrows: the interval goes on", best_of(below, apart, "models below the line")]
    return sentences


def _range(row: Any) -> str:
    if not getattr(row, "identified", True):
        return "open"  # the ridge alone ranks it
    return str(row.rank_best) if row.rank_best == row.rank_worst else f"{row.rank_best} to {row.rank_worst}"
