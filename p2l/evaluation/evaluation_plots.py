"""Plots of an evaluation, drawn from its published JSON."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2l.evaluation.category_metrics import MODEL, TRUTH
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT
from p2l.statistics.intervals import wilson_interval

TRUTH_COLOUR, MODEL_COLOUR, GRID = "#444444", "#1f77b4", "#dddddd"
LINE_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#8c6d1f", "#666666")
MOST_MODELS = 30
Entries = Mapping[str, Mapping[str, Any]]


def draw_plots(models: Entries) -> dict[str, Figure]:
    """Return the plots that the results have numbers for, by name; ``models`` as in the published JSON.

    Reliability and leaderboard show the first category; the aggregation scale shows all.
    """
    figures = {}
    name, first = next(iter(models.items()), ("", {}))
    if "proper_metrics" in first:
        figures["reliability"] = plot_reliability(first["proper_metrics"], name)
    if "Leaderboard" in first.get("category_metrics", {}):
        figures["leaderboard"] = plot_against_truth(first["category_metrics"]["Leaderboard"], name)
    scales = {entry: found["aggr_scale"] for entry, found in models.items() if found.get("aggr_scale")}
    if scales:
        figures["aggr_scale"] = plot_scale(scales)
    return figures


def plot_reliability(proper: Mapping[str, Any], title: str) -> Figure:
    """Plot the observed share against the mean probability, a panel for each outcome.

    The area of a point is its share of votes; the bar is its 95 % Wilson interval, as if votes were independent.
    """
    curves = proper["reliability"]
    figure = Figure(figsize=(3.1 * len(curves), 3.7), layout="constrained")
    for axis, (outcome, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        share = np.array(curve["votes"]) / sum(curve["votes"])
        axis.plot([0, 1], [0, 1], color=TRUTH_COLOUR, linewidth=0.8, linestyle="--")
        low, high = wilson_interval(np.array(curve["observed"]), np.array(curve["votes"]))
        axis.vlines(curve["predicted"], low, high, color=MODEL_COLOUR, linewidth=1, alpha=0.6)
        axis.scatter(curve["predicted"], curve["observed"], s=6 + 500 * share, color=MODEL_COLOUR, alpha=0.8, lw=0)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=outcome, xlabel="probability given")
        _tidy(axis)
    figure.axes[0].set_ylabel("share of votes")
    error = proper["calibration_error"]
    figure.suptitle(
        f"{title}: calibration error {error['value']:.3f} [{error['low']:.3f}, {error['high']:.3f}], "
        f"{proper['votes']:,} votes",
        fontsize=10, parse_math=False,
    )  # fmt: skip
    return figure


def plot_against_truth(leaderboards: Mapping[str, list[str]], title: str) -> Figure:
    """Plot both leaderboards, model by model, in Elo points above the mean of all models."""
    truth, model = (_points(leaderboards[side]) for side in (TRUTH, MODEL))
    names = list(truth)[:MOST_MODELS]
    figure = Figure(figsize=(7.5, 1.3 + 0.22 * len(names)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(names))
    axis.hlines(places, [truth[n] for n in names], [model[n] for n in names], color=GRID, linewidth=3, zorder=1)
    axis.scatter([truth[n] for n in names], places, s=26, color=TRUTH_COLOUR, label="ground truth", zorder=2)
    axis.scatter([model[n] for n in names], places, s=26, color=MODEL_COLOUR, label="model", zorder=3)
    axis.set_yticks(places, names, fontsize=8, parse_math=False)
    axis.set_ylim(len(names) - 0.4, -0.6)
    of_all = f", best {len(names)} of {len(truth)}" if len(names) < len(truth) else ""
    axis.set_title(f"{title}: leaderboard against the truth{of_all}", fontsize=10, parse_math=False)
    axis.set_xlabel("Elo points above the mean of all models")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    _tidy(axis)
    return figure


def _points(lines: list[str]) -> dict[str, float]:
    coefs = {name: float(coef) for name, _, coef in (line.rpartition(": ") for line in lines)}
    mean = float(np.mean(list(coefs.values())))
    return {name: (coef - mean) * ELO_POINTS_PER_NAT for name, coef in coefs.items()}


def plot_scale(scales: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """Plot each metric of the aggregation scale against the number of prompts, a line for each category."""
    first = next(iter(next(iter(scales.values())).values()))
    metrics = [name for name, value in first.items() if isinstance(value, (int, float))]
    columns = max(1, min(3, len(metrics)))
    rows = max(1, math.ceil(len(metrics) / columns))
    figure = Figure(figsize=(4 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, metric in zip(axes, metrics):
        for i, (category, sizes) in enumerate(scales.items()):
            points = [(int(size), values[metric]) for size, values in sizes.items() if metric in values]
            colour = LINE_COLOURS[i % len(LINE_COLOURS)]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1.4, color=colour, label=category)
        axis.set(xscale="log", title=metric, xlabel="prompts in the aggregate")
        axis.xaxis.set_major_formatter("{x:g}")
        _tidy(axis)
    for axis in axes[len(metrics) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8)
    return figure


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=GRID, linewidth=0.5)
    axis.set_axisbelow(True)
