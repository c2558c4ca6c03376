"""Plot cost against quality of routing policies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {  # the last is drawn first
    "conservative stream": "#e7298a",
    "stream": "#d95f02",
    "per-prompt LP": "#1f77b4",
    "strict": "#66a61e",
    "batch": "#7570b3",
    "single mixture": "#555555",
    "oracle": "#aaaaaa",
}
_LABELS = {
    "conservative stream": "one price, shrunk scores",
    "stream": "one price for the stream",
    "per-prompt LP": "budget on each prompt (LP)",
    "strict": "budget on each prompt (strict)",
    "batch": "batch plan",
    "single mixture": "random mixture of single LLMs",
    "oracle": "oracle",
}
_STYLES = {"single mixture": "--", "oracle": ":", "strict": "-.", "batch": "-."}
_BANDS = ("conservative stream", "per-prompt LP")  # without a conservative stream, that of the stream


def plot_routing(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a panel for each result: a line for each policy, 95 % bands for two, and a dot for each single LLM."""
    figure = Figure(figsize=(6.4 * len(results), 4.9), layout="constrained")
    for axis, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results):
        found = result["curves"]
        bands = _BANDS if _BANDS[0] in found else ("stream", *_BANDS[1:])
        for name in reversed(COLOURS):
            if name in found:
                _draw(axis, name, found[name], band=name in bands)
        _draw_singles(axis, result)
        axis.set(xscale="log", xlabel=f"mean cost, {result['unit']}", title=result["title"])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)
    figure.axes[0].set_ylabel("mean score")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw(axis: Axes, name: str, curve: Mapping[str, Sequence[float | None]], band: bool) -> None:
    order = np.argsort(np.array(curve["cost"], dtype=np.float64), kind="stable")
    columns = {key: np.array(values, dtype=np.float64)[order] for key, values in curve.items() if key != "budget"}
    style, colour = _STYLES.get(name, "-"), COLOURS[name]
    axis.plot(columns["cost"], columns["quality"], style, color=colour, lw=1.7, label=_LABELS[name])
    if band:
        axis.fill_between(
            columns["cost"], columns["quality_low"], columns["quality_high"], color=colour, alpha=0.1, lw=0
        )


def _draw_singles(axis: Axes, result: Mapping[str, Any]) -> None:
    """Draw the single LLMs, name those that are better than all cheaper ones, and set the limits of the axes."""
    by_cost = sorted(result["singles"].items(), key=lambda item: item[1][0])
    costs, qualities = zip(*(place for _, place in by_cost))
    axis.scatter(costs, qualities, s=16, color="#333333", zorder=3)
    best = -np.inf
    for name, (cost, quality) in by_cost:
        if quality > best:
            best, text = quality, name.rsplit("/", 1)[-1]
            place = {"ha": "left", "va": "top", "fontsize": 7, "color": "#333333"}
            axis.text(cost * 1.04, quality - 0.003, text, parse_math=False, fontdict=place)
    curves = [curve for name, curve in result["curves"].items() if name != "oracle"]
    bottom = min(min(curve["quality_low"]) for curve in curves)
    top = max(max(curve["quality_high"]) for curve in curves)
    right = max(max(curve["cost"]) for curve in curves)
    axis.set_xlim(min(costs) * 0.8, right * 2)
    axis.set_ylim(bottom - 0.05 * (top - bottom), top + 0.25 * (top - bottom))
