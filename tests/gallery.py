"""Every picture of the project by number of models, and what must hold of each."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from p2l.evaluation.evaluation_plots import plot_against_truth, plot_reliability, plot_scale
from p2l.leaderboard import fit, leaderboard_table, plot_intervals, plot_leaderboards
from p2l.outcomes import BT, GRK
from p2l.routing.evaluation.routing_plots import plot_routing
from p2l.types import Ranking

ODD_NAMES = (
    *("$x^2$ & <b>", "a_b_{c}\\frac", "模型-72b-chat", "نموذج", "🦙-2", "tab\tand\nline", "plain"),
    "organisation/a-very-long-model-name-with-a-date-2025-11-28-preview-instruct",
    "organisation/a-very-long-model-name-with-a-date-2025-11-28-preview-thinking",
)
PROMPTS = (
    "What does $20 buy, and what is $x^$?",
    "请写一首关于秋天大海的诗。" * 8,
    "a " * 300,
    "Explain the difference between a mutex and a semaphore to a child, in one paragraph, then in one sentence.",
)


def names(number: int, *, odd: bool = True) -> list[str]:
    """Return names of models, those of ``ODD_NAMES`` first."""
    first = list(ODD_NAMES[:number]) if odd else []
    return [*first, *(f"model-{i:03d}" for i in range(number - len(first)))]


def leaderboards(number: int, panels: int) -> Figure:
    generator = torch.Generator().manual_seed(0)
    coefs = torch.randn(panels, number, generator=generator) * torch.linspace(0.3, 1.5, panels)[:, None]
    tables = [leaderboard_table(names(number), Ranking(row, None), BT) for row in coefs]
    return plot_leaderboards([PROMPTS[i % len(PROMPTS)] for i in range(panels)], tables)


def intervals(number: int) -> Figure:
    return plot_intervals(fitted(number), title="all: bt, 5,000 votes, of a file with $ in its name " * 2)


def fitted(number: int, votes: int = 5000) -> pd.DataFrame:
    """Fit votes in which the best model has five votes, and of many models the second best has never lost."""
    rng = np.random.default_rng(number)
    strength = np.sort(rng.normal(size=number))[::-1]
    a, b = rng.integers(number, size=(2, votes))
    keep = (a != b) & (rng.random(votes) < np.where((a == 0) | (b == 0), 10 * number / votes, 1))
    won = rng.random(votes) < 1 / (1 + np.exp(strength[b] - strength[a]))
    if number > 3:
        won = np.where(a == 1, True, np.where(b == 1, False, won))
    of = np.array(names(number), dtype=object)
    winner = np.where(won, "model_a", "model_b")
    return fit(pd.DataFrame({"model_a": of[a], "model_b": of[b], "winner": winner})[keep], "bt").table()


def reliability(number: int) -> Figure:
    outcomes = GRK.outcomes if number > 2 else BT.outcomes
    curve = {"predicted": [0.1, 0.4, 0.8], "observed": [0.2, 0.4, 0.7], "votes": [10 * number, 5, 1]}
    error = {"value": 0.123, "low": 0.1, "high": 0.2}
    proper = {"reliability": dict.fromkeys(outcomes, curve), "calibration_error": error, "votes": 100}
    return plot_reliability(proper, "p2l-all of a category with a long name and $")


def against_truth(number: int) -> Figure:
    coefs = np.linspace(1, -1, number)
    lines = [f"{name.strip()}: {coef}" for name, coef in zip(names(number), coefs)]
    model = [f"{name.strip()}: {-coef}" for name, coef in zip(names(number), coefs)]
    return plot_against_truth({"ground-truth": lines, "model-aggr": model}, "p2l-all of a long category name")


def scale(number: int) -> Figure:
    sizes = {str(n): {"L1-Dist-Prob": 0.3 / n, "Kendall-lbs": 0.5, "of": "text"} for n in (1, 10, 100)}
    return plot_scale({f"p2l-{name}": sizes for name in names(min(number, 12))})


def routing(number: int, panels: int = 1) -> Figure:
    return plot_routing([routing_result(number, seed) for seed in range(panels)])


def routing_result(number: int, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    cost = np.sort(rng.lognormal(0, 1.5, number))
    score = 0.5 + 0.1 * np.log1p(cost) + rng.normal(0, 0.08, number)
    budgets = np.geomspace(cost.min(), max(cost.max(), 1.01 * cost.min()), 8)
    curves = {}
    for i, name in enumerate(("stream", "per-prompt LP", "strict", "batch", "single mixture", "oracle")):
        quality = 0.55 + 0.1 * np.log1p(budgets) - 0.01 * i
        low, high = (quality - 0.02).tolist(), (quality + 0.02).tolist()
        curves[name] = {"budget": [*budgets], "cost": [*budgets], "quality": [*quality]}
        curves[name] |= {"quality_low": low, "quality_high": high}
    singles = {name: (float(c), float(s)) for name, c, s in zip(names(number), cost, score)}
    title = "outputs/a/very/long/path/of/a/run/that/somebody/has/named/2026-11-28_21-00-00/checkpoint"
    return {"title": title, "unit": "dollars per 1,000 prompts", "singles": singles, "curves": curves}


PICTURES: dict[str, Callable[[int], Figure]] = {
    "one leaderboard": lambda number: leaderboards(number, 1),
    "leaderboards": lambda number: leaderboards(number, 3),
    "five leaderboards": lambda number: leaderboards(number, 5),
    "intervals": intervals,
    "reliability": reliability,
    "against truth": against_truth,
    "scale": scale,
    "routing": routing,
    "two routings": lambda number: routing(number, 2),
}


def written(figure: Figure) -> list[Text]:
    """Lay the figure out and return the texts that are drawn."""
    figure.draw_without_rendering()
    hidden = {id(text) for axes in figure.findobj(Axes) for text in _hidden(axes)}
    return [text for text in figure.findobj(Text) if id(text) not in hidden and text.get_visible() and text.get_text()]


def _hidden(axes: Axes) -> list[Text]:
    """Return the labels of ticks outside the limits, and all texts of axes that are off."""
    if not axes.axison:
        return axes.findobj(Text)
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high or not axes.get_visible():
                found += [tick.label1, tick.label2]
    return found


def cut(figure: Figure) -> list[str]:
    """Return the texts that stand partly outside the picture."""
    box = figure.bbox.padded(1.0)
    extents = [(text, text.get_window_extent()) for text in written(figure)]
    return [
        text.get_text() for text, extent in extents
        if extent.x0 < box.x0 or extent.x1 > box.x1 or extent.y0 < box.y0 or extent.y1 > box.y1
    ]  # fmt: skip


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of texts that stand on each other."""
    texts = written(figure)
    boxes = [text.get_window_extent().padded(-1.0) for text in texts]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i) if boxes[i].overlaps(boxes[j])]
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in pairs]
