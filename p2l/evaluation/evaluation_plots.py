"""Plots of an evaluation, drawn from its published JSON."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from p2l.drawing import (
    GRID,
    best_of,
    finish,
    height_of_rows,
    key_below,
    log_scale,
    message_figure,
    name_rows,
    new_figure,
    tidy,
    wrapped,
)
from p2l.evaluation.category_metrics import MODEL, TRUTH
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT
from p2l.statistics.intervals import wilson_interval

TRUTH_COLOUR, MODEL_COLOUR = "#444444", "#1f77b4"
LINE_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#8c6d1f", "#666666")
LINE_STYLES = ("-", "--", ":", "-.")  # of each seven more lines
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
    error = proper["calibration_error"]
    measured = f"calibration error {error['value']:.3f} [{error['low']:.3f}, {error['high']:.3f}]"
    return plot_reliability_curves(proper["reliability"], f"{title}: {measured}, {proper['votes']:,} votes")


def plot_reliability_curves(curves: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Plot curves of ``reliability_curves`` (predicted, observed, votes by outcome), a panel for each outcome."""
    if not curves:
        return message_figure("There are no votes to compare with probabilities.")
    figure = new_figure(max(5.5, 3.1 * len(curves)), 3.9)
    for axis, (outcome, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        share = np.array(curve["votes"]) / max(1, sum(curve["votes"]))
        axis.plot([0, 1], [0, 1], color=TRUTH_COLOUR, linewidth=0.8, linestyle="--", label="calibrated")
        low, high = wilson_interval(np.array(curve["observed"]), np.array(curve["votes"]))
        bars = "95% interval, as if votes were independent"
        axis.vlines(curve["predicted"], low, high, color=MODEL_COLOUR, linewidth=1, alpha=0.6, label=bars)
        axis.scatter(
            *(curve["predicted"], curve["observed"]), s=6 + 500 * share, color=MODEL_COLOUR, alpha=0.8, lw=0,
            label="votes with similar probabilities; area: their share",
        )  # fmt: skip
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=outcome, xlabel="probability given")
        tidy(axis)
    figure.axes[0].set_ylabel("share of votes")
    figure.suptitle(wrapped(title, figure.get_figwidth() - 0.4, 10), fontsize=10)
    key_below(figure)
    _shrink_keys(figure)
    return finish(figure)


def _shrink_keys(figure: Figure) -> None:
    """Draw the points of a legend at one small size; their size in the picture means a share."""
    for handle in figure.legends[0].legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30])


def plot_against_truth(leaderboards: Mapping[str, list[str]], title: str) -> Figure:
    """Plot both leaderboards, model by model, in Elo points above the mean of all models."""
    truth, model = (_points(leaderboards[side]) for side in (TRUTH, MODEL))
    names = list(truth)[:MOST_MODELS]
    if not names:
        return message_figure("There is no model to compare.")
    figure = new_figure(7.5, height_of_rows(len(names)))
    axis = figure.subplots()
    places = np.arange(len(names))
    axis.hlines(places, [truth[n] for n in names], [model[n] for n in names], color=GRID, linewidth=3, zorder=1)
    axis.scatter([truth[n] for n in names], places, s=26, color=TRUTH_COLOUR, label="ground truth", zorder=2)
    axis.scatter([model[n] for n in names], places, s=26, color=MODEL_COLOUR, label="model", zorder=3)
    name_rows(axis, places.tolist(), names)
    some = best_of(len(names), len(truth))
    axis.set_title(wrapped(f"{title}: leaderboard against the truth{some and f', {some}'}", 5.0, 10), fontsize=10)
    axis.set_xlabel("Elo points above the mean of all models")
    tidy(axis)
    key_below(figure)
    return finish(figure)


def _points(lines: list[str]) -> dict[str, float]:
    coefs = {name: float(coef) for name, _, coef in (line.rpartition(": ") for line in lines)}
    mean = float(np.mean(list(coefs.values())))
    return {name: (coef - mean) * ELO_POINTS_PER_NAT for name, coef in coefs.items()}


def plot_scale(scales: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """Plot each metric of the aggregation scale against the number of prompts, a line for each category."""
    numbers = (values for sizes in scales.values() for values in sizes.values())
    metrics = list(dict.fromkeys(name for values in numbers for name in values if _is_number(values[name])))
    if not metrics:
        return message_figure("No metric of the aggregation scale has a number.")
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure = new_figure(max(5.0, 4 * columns), 3.4 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, metric in zip(axes, metrics):
        _draw_scale(axis, metric, scales)
    for axis in axes[len(metrics) :]:
        axis.set_axis_off()
    key_below(figure)
    return finish(figure)


def _draw_scale(axis: Axes, metric: str, scales: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    for i, (category, sizes) in enumerate(scales.items()):
        points = [(int(size), values[metric]) for size, values in sizes.items() if _is_number(values.get(metric))]
        if points:
            colour, style = LINE_COLOURS[i % len(LINE_COLOURS)], LINE_STYLES[i // len(LINE_COLOURS) % len(LINE_STYLES)]
            x, y = zip(*points, strict=True)
            axis.plot(x, y, style, marker="o", markersize=4, linewidth=1.4, color=colour, label=category)
    axis.set(title=metric, xlabel="prompts in the aggregate")
    log_scale(axis, "x", "{x:g}")
    tidy(axis)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
