"""Draw what a router learns from traffic: rewards by budget, regret by step, and shares after a change."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from online_changes import AT, CHANGES, WINDOW

from p2l.drawing import finish, key_below, new_figure, tidy
from p2l.files import whole_file
from p2l.statistics.intervals import student_quantile

COLOURS = {"cold": "#1f77b4", "warm": "#d95f02", "fixed": "#333333", "published": "#7570b3"}
NAMES = {
    "cold": "cold: learns from the chosen LLM's rewards alone",
    "warm": "warm: starts from the validation prompts, and learns",
    "fixed": "fixed: full information on the validation prompts",
    "published": "ParetoBandit, published",
}
BUDGET_COLOURS = ("#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08306b")
CHANGE_COLOURS = ("#1b9e77", "#e7298a", "#a6611a")
Runs = Mapping[tuple[str, float], Mapping[str, np.ndarray]]


def draw(
    runs: Runs, published: Mapping[str, Sequence[float]], shares: Sequence[Mapping[str, np.ndarray]], path: Path
) -> None:
    """Write a PNG of three panels; ``published``: the budgets, and the rewards there."""
    figure = new_figure(13.5, 4.4)
    rewards, regret, after = figure.subplots(1, 3)
    _rewards(rewards, runs, published)
    _regret(regret, runs, published["budgets"])
    _shares(after, shares)
    for axes in (rewards, regret, after):
        tidy(axes)
    key_below(figure)
    with whole_file(path) as file:
        finish(figure).savefig(file, format="png", dpi=110)


def _rewards(axes: Axes, runs: Runs, published: Mapping[str, Sequence[float]]) -> None:
    budgets = published["budgets"]
    for name in ("cold", "warm", "fixed"):
        means = [runs[name, one]["reward"].mean() for one in budgets]
        axes.plot(budgets, means, "o-", markersize=4, color=COLOURS[name], label=NAMES[name])
    axes.plot(budgets, published["reward"], "s--", markersize=4, color=COLOURS["published"], label=NAMES["published"])
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{one:.1e}".replace("e-0", "e-") for one in budgets], rotation=45)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="budget, dollars a prompt", ylabel="mean reward", title="1,824 test prompts, 20 orders")


def _regret(axes: Axes, runs: Runs, budgets: Sequence[float]) -> None:
    for at, budget in enumerate(budgets):
        lost = np.cumsum(runs["fixed", budget]["reward"] - runs["cold", budget]["reward"], axis=1)
        mean, error = lost.mean(0), lost.std(0, ddof=1) / np.sqrt(len(lost)) * student_quantile(0.95, len(lost))
        colour = BUDGET_COLOURS[at]
        axes.plot(mean, color=colour, linewidth=1.3, label=f"budget {budget:.2g}")
        axes.fill_between(np.arange(len(mean)), mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="prompts so far", ylabel="reward lost to fixed", title="regret of cold, by budget")


def _shares(axes: Axes, shares: Sequence[Mapping[str, np.ndarray]]) -> None:
    for change, found, colour in zip(CHANGES, shares, CHANGE_COLOURS, strict=True):
        share = found[str(change.memories[0])].mean(0)
        axes.plot(np.arange(len(share)) + WINDOW, share, color=colour, linewidth=1.4, label=change.name)
        right = found["after"][:, AT:].mean()
        axes.axhline(right, color=colour, linestyle=":", linewidth=1)
    axes.axvline(AT, color="#999999", linewidth=0.8)
    title = f"an LLM changes at {AT}; dotted: right"
    axes.set(xlabel="prompts so far", ylabel=f"its share of the last {WINDOW}", title=title)
