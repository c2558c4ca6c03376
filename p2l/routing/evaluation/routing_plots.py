"""Plot cost against quality of routing policies."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from p2l.drawing import change_caption, finish, key_below, log_scale, message_figure, new_figure, tidy, wrapped
from p2l.routing.evaluation.dot_names import write_names

PANEL_WIDTH, MOST_COLUMNS = 6.4, 3
EDGE = 0.025  # share of the height
COLOURS = {  # the last is drawn first
    "conservative stream": "#e7298a",
    "risk stream": "#1b9e77",
    "stream": "#d95f02",
    "per-prompt LP": "#1f77b4",
    "strict": "#66a61e",
    "batch": "#7570b3",
    "single mixture": "#555555",
    "oracle": "#aaaaaa",
}
_LABELS = {
    "conservative stream": "one price, shrunk scores",
    "risk stream": "one price, scores by risk",
    "stream": "one price for the stream",
    "per-prompt LP": "budget on each prompt (LP)",
    "strict": "budget on each prompt (strict)",
    "batch": "batch plan",
    "single mixture": "random mixture of single LLMs",
    "oracle": "oracle",
}
_STYLES = {"single mixture": "--", "oracle": ":", "strict": "-.", "batch": "-."}
_UNMIXED = ("strict", "best affordable single")  # reach no point between two of theirs: steps
_BANDS = ("conservative stream", "per-prompt LP")  # without a conservative stream, that of the stream
_BAND_NOTE = "bands: 95% intervals over prompts"
_FREE_NOTE = "LLMs without a cost stand at the left edge"
_SEEN = 1e-4  # of a value
_SINGLE, _OUTSIDE = "a single LLM", "a single LLM below the scale"


def plot_routing(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a panel for each result: a line for each policy, 95 % bands for two, and a dot for each single LLM.

    Panels with the same unit share the scale of costs. The caption states how many LLMs have no room for their name.
    """
    if not results:
        return message_figure("There is no result of routing to draw.")
    columns = min(len(results), MOST_COLUMNS)
    lines = -(-len(results) // columns)
    figure = new_figure(PANEL_WIDTH * columns, 4.7 * lines)
    same_unit = len({result["unit"] for result in results}) == 1
    axes = figure.subplots(lines, columns, squeeze=False, sharex=same_unit).ravel()
    for axis, result in zip(axes, results):
        _draw_panel(axis, result)
    for axis in axes[len(results) :]:
        axis.set_axis_off()
    for axis in axes[: len(results) : columns]:
        axis.set_ylabel("mean score")
    free = any(cost <= 0 for result in results for cost, _ in result["singles"].values())
    notes = [_BAND_NOTE, _FREE_NOTE if free else "", _oracle_note(axes, results)]
    for axis, result in zip(axes, results):
        axis.set_xlim(*_cost_limits(results if same_unit else [result]))
        log_scale(axis, "x", "{x:g}")
        _draw_singles(axis, result)
    key_below(figure, *notes)
    nameless = sum(write_names(figure, axis, _places(axis, result)) for axis, result in zip(axes, results))
    if nameless:
        change_caption(figure, *notes, f"{nameless} LLM{'s' if nameless > 1 else ''} without room for a name")
    return finish(figure)


def _draw_panel(axis: Axes, result: Mapping[str, Any]) -> None:
    found = result["curves"]
    bands = _BANDS if _BANDS[0] in found else ("stream", *_BANDS[1:])
    for name in reversed(COLOURS):
        if name in found:
            _draw(axis, name, found[name], band=name in bands)
    axis.set(ylim=_score_limits(result))
    axis.set_xlabel(wrapped(f"mean cost, {result['unit']}", PANEL_WIDTH - 1, 10))
    axis.set_title(wrapped(result["title"], PANEL_WIDTH - 1, 11), fontsize=11)
    axis.tick_params(axis="x", labelbottom=True)
    tidy(axis)


def _draw(axis: Axes, name: str, curve: Mapping[str, Sequence[float | None]], band: bool) -> None:
    order = np.argsort(np.array(curve["cost"], dtype=np.float64), kind="stable")
    columns = {key: np.array(values, dtype=np.float64)[order] for key, values in curve.items() if key != "budget"}
    style, colour = _STYLES.get(name, "-"), COLOURS[name]
    is_point = _is_one(columns["cost"]) and _is_one(columns["quality"])
    marker = "D" if is_point else ""  # where no line can be seen
    (line,) = axis.plot(
        columns["cost"], columns["quality"], style, marker=marker, ms=6, color=colour, lw=1.7, label=_LABELS[name]
    )
    line.set_drawstyle("steps-post" if name in _UNMIXED else "default")
    if band and is_point:
        axis.vlines(columns["cost"], columns["quality_low"], columns["quality_high"], color=colour, alpha=0.4, lw=1.7)
    elif band:
        axis.fill_between(
            columns["cost"], columns["quality_low"], columns["quality_high"], color=colour, alpha=0.1, lw=0
        )


def _is_one(values: Float64[np.ndarray, " points"]) -> bool:
    """Return whether all known values are one, as far as it can be seen."""
    known = values[np.isfinite(values)]
    return known.size > 0 and bool(np.ptp(known) <= _SEEN * np.abs(known).max())


def _draw_singles(axis: Axes, result: Mapping[str, Any]) -> None:
    """Draw a dot for each single LLM, and a triangle at the bottom for those below the scale."""
    places = np.array(list(_places(axis, result).values())).reshape(-1, 2)
    below = places[:, 1] <= _bottom(axis)
    if (~below).any():
        axis.scatter(places[~below, 0], places[~below, 1], s=16, color="#333333", zorder=3, label=_SINGLE)
    if below.any():
        axis.scatter(places[below, 0], places[below, 1], s=22, marker="v", color="#999999", label=_OUTSIDE)


def _places(axis: Axes, result: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return where each LLM is drawn, within the limits: those better than all cheaper ones first, then by score."""
    singles: Mapping[str, tuple[float, float]] = result["singles"]
    best, first = -np.inf, []
    for name in sorted(singles, key=lambda name: singles[name][0]):
        if singles[name][1] > best:
            best = singles[name][1]
            first.append(name)
    order = [*first, *sorted(singles.keys() - set(first), key=lambda name: (-singles[name][1], name))]
    left, bottom = axis.get_xlim()[0] * 1.05, _bottom(axis)
    return {name: (max(singles[name][0], left), max(singles[name][1], bottom)) for name in order}


def _bottom(axis: Axes) -> float:
    low, high = axis.get_ylim()
    return low + EDGE * (high - low)


def _oracle_note(axes: Iterable[Axes], results: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the oracle's line goes on above the scale, which it would squeeze; "" if it does not."""
    scores = [result["curves"].get("oracle", {}).get("quality", []) for result in results]
    best = [max((score for score in one if score is not None), default=-np.inf) for one in scores]
    above = [f"{score:.3g}" for axis, score in zip(axes, best) if score > axis.get_ylim()[1]]
    return f"the oracle goes on above the scale, to {' and '.join(above)}" if above else ""


def _cost_limits(results: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the limits of the costs above 0, which a log scale can show."""
    costs = [cost for result in results for cost, _ in result["singles"].values()]
    costs += [cost for result in results for curve in result["curves"].values() for cost in curve["cost"]]
    positive = [cost for cost in costs if cost > 0] or [1.0]
    return min(positive) * 0.7, max(positive) * 1.6


def _score_limits(result: Mapping[str, Any]) -> tuple[float, float]:
    """Return limits that show all curves but the oracle, and the LLMs above them."""
    curves = [curve for name, curve in result["curves"].items() if name != "oracle"]
    scores = [score for _, score in result["singles"].values()]
    bottom = min([min(curve["quality_low"]) for curve in curves], default=min(scores, default=0.0))
    top = max([max(curve["quality_high"]) for curve in curves] + scores, default=1.0)
    room = (top - bottom) or 0.1
    return bottom - 0.08 * room, top + 0.1 * room
