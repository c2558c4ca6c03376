"""The charts of a run's page, as SVG inside the page."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2l.drawing import finish, key_below, new_figure, tidy
from p2l.evaluation.evaluation_plots import plot_reliability_curves
from p2l.html import Html, tag
from p2l.run_page.run_record import TRAIN_LOSS, VAL_LOSS, VAL_MINUS_MARGINAL, RunRecord

MOST_POINTS = 400
TRAIN_COLOUR, VAL_COLOUR, MARGINAL_COLOUR, UNIFORM_COLOUR = "#9db7d5", "#1f5fa8", "#d95f02", "#777777"
_NEEDLESS = r'<!--.*?-->|<metadata>.*?</metadata>| xmlns(:xlink)?="[^"]*"'  # within HTML
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def loss_chart(record: RunRecord) -> Html | None:
    """Draw the losses by step, with the marginal leaderboard's beside them; None without a loss.

    A second panel shows validation minus marginal, in which a small gain can be read.
    """
    train, val, gain = (record.curve(name) for name in (TRAIN_LOSS, VAL_LOSS, VAL_MINUS_MARGINAL))
    if not train[0] and not val[0]:
        return None
    panels = 2 if gain[0] else 1
    figure = new_figure(6.0 * panels, 3.6)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    note = _draw_losses(axes[0], record, train, val)
    if gain[0]:
        axes[1].axhline(0, color=MARGINAL_COLOUR, linestyle="--", linewidth=1.2)
        axes[1].plot(*gain, "o-", color=VAL_COLOUR, markersize=4, linewidth=1.4)
        axes[1].set_title("Validation minus marginal: below 0 is better", fontsize=10)
    for axis in axes:
        axis.set(xlabel="optimizer step", ylabel="nats a vote")
        tidy(axis)
    key_below(figure, note)
    return _inline(finish(figure), "loss by optimizer step")


def _draw_losses(axis: Axes, record: RunRecord, train: Any, val: Any) -> str:
    """Draw the first panel; return what its caption must state."""
    note = ""
    if train[0]:
        x, y, together = _thinned(*train)
        axis.plot(x, y, color=TRAIN_COLOUR, linewidth=1.2, label="training votes of the step")
        note = f"training loss: means of {together} recorded steps" if together > 1 else ""
    if val[0]:
        axis.plot(*val, "o-", color=VAL_COLOUR, markersize=4, linewidth=1.4, label="validation votes")
    marginal = record.marginal_loss()
    if marginal is not None:
        label = f"marginal leaderboard, validation: {marginal:.4f}"
        axis.axhline(marginal, color=MARGINAL_COLOUR, linestyle="--", linewidth=1.2, label=label)
    if record.outcomes:
        uniform = float(np.log(len(record.outcomes)))
        axis.axhline(uniform, color=UNIFORM_COLOUR, linestyle=":", label=f"uniform guess: {uniform:.4f}", linewidth=1.2)
    axis.set_title("Log loss", fontsize=10)
    return note


def calibration_chart(calibration: Mapping[str, Any]) -> Html | None:
    """Draw observed shares against probabilities, a panel for each outcome; None without votes."""
    if not any(sum(curve["votes"]) for curve in calibration.values()):
        return None
    votes = sum(next(iter(calibration.values()))["votes"])
    figure = plot_reliability_curves(calibration, f"{votes:,.0f} validation votes, last validation")
    return _inline(figure, "observed shares of outcomes against their probabilities")


def _thinned(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float], int]:
    """Return at most ``MOST_POINTS`` points, each the mean of so many neighbours."""
    together = -(-len(steps) // MOST_POINTS)
    parts = [slice(start, start + together) for start in range(0, len(steps), together)]
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return [float(x[part].mean()) for part in parts], [float(y[part].mean()) for part in parts], together


def _inline(figure: Figure, description: str) -> Html:
    """Return a figure as an element of a page; its texts are paths, and it refers to nothing outside."""
    file = StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": description}):
        figure.savefig(file, format="svg", metadata=_METADATA)
    svg = file.getvalue()
    svg = re.sub(_NEEDLESS, "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return tag("figure.chart", Html(svg), attributes={"role": "img", "aria-label": description})
