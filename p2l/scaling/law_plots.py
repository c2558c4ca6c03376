"""Plots of a scaling law."""

import numpy as np
import pandas as pd
from jaxtyping import Float64
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from p2l.drawing import finish, log_scale, new_figure, wrapped
from p2l.scaling.held_out import PREDICTIONS
from p2l.scaling.law import Values
from p2l.scaling.law_intervals import LawFit

COLOURS = ("#1f5fa8", "#d95f02", "#7570b3", "#999999")  # of the predictions
MARKERS = "o^sx"


def plot_law(fit: LawFit, predicted: pd.DataFrame, *, title: str = "") -> Figure:
    """Plot loss against votes by size, contours of the law, and predictions of held-out points."""
    figure = new_figure(14.5, 4.6)
    curves, contours, held_out = figure.subplots(1, 3)
    _draw_curves(curves, fit)
    _draw_contours(contours, fit)
    _draw_predictions(held_out, predicted)
    for axis in figure.axes[:3]:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(wrapped(title or fit.law, 14.0, 10), fontsize=10)
    return finish(figure)


def _draw_curves(axis: Axes, fit: LawFit) -> None:
    seen = fit.seen
    sizes = np.unique(seen.parameters)
    votes = np.geomspace(seen.votes.min() / 1.3, seen.votes.max() * 2, 100)
    for i, size in enumerate(sizes):
        colour = colormaps["viridis"](0.9 * i / max(1, len(sizes) - 1))
        of_size = seen.parameters == size
        axis.plot(votes, fit.law.loss(np.full_like(votes, size), votes), color=colour, linewidth=1.3)
        axis.plot(seen.votes[of_size], seen.log_loss[of_size], "o", color=colour, label=f"{size / 1e6:.3g}M parameters")
    log_scale(axis, "x", EngFormatter(sep=""))
    axis.set(xlabel="votes trained on", ylabel="log loss, nats a vote", title="Points and law")
    axis.legend(frameon=False, fontsize=8)


def _draw_contours(axis: Axes, fit: LawFit) -> None:
    seen = fit.seen
    votes, sizes = _grid(seen.votes), _grid(seen.parameters)
    loss = fit.law.loss(*np.meshgrid(sizes, votes, indexing="ij"))
    lines = axis.contour(votes, sizes, loss, levels=10, cmap="viridis_r", linewidths=1)
    axis.clabel(lines, fontsize=7, fmt="%.3f")
    axis.plot(seen.votes, seen.parameters, "k.", markersize=5, label="runs")
    for name in ("x", "y"):
        log_scale(axis, name, EngFormatter(sep=""))
    axis.set(xlabel="votes trained on", ylabel="parameters without embeddings", title="Equal loss by the law")


def _grid(values: Values) -> Float64[np.ndarray, " grid"]:
    return np.geomspace(values.min() / 1.5, values.max() * 3, 80)


def _draw_predictions(axis: Axes, predicted: pd.DataFrame) -> None:
    shown = predicted[predicted["held_out"] == "each in turn"]
    for name, colour, marker in zip(PREDICTIONS, COLOURS, MARKERS, strict=True):
        if len(shown):
            axis.plot(shown["observed"], shown[name], marker, color=colour, label=name, markersize=5)
    if len(shown):
        ends = [shown["observed"].min(), shown["observed"].max()]
        axis.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
        axis.legend(frameon=False, fontsize=8)
    axis.locator_params(nbins=5)
    axis.set(xlabel="loss observed", ylabel="loss predicted", title="Each point held out in turn")
