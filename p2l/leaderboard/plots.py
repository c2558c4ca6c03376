"""Leaderboards as pictures."""

from collections.abc import Sequence
from textwrap import shorten

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

PANEL_WIDTH, ROW_HEIGHT = 5.2, 0.28


def plot_leaderboards(titles: Sequence[str], tables: Sequence[pd.DataFrame], *, top: int = 15) -> Figure:
    """Bars of Elo points, one panel for each leaderboard; a model has the same colour in every panel."""
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
