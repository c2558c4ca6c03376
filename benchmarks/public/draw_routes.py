"""Draw the figures of a table: quality against cost, or the mean score of each method."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from routed_figures import BLEND, BOTH, END, NEIGHBOURS, P2L, RIDGE, BudgetFigures
from show_routes import Report
from spend_budgets import MIXTURE

from p2l.data.measured_scores import MeasuredScores
from p2l.drawing import change_caption, finish, height_of_rows, key_below, name_rows, new_figure, tidy
from p2l.files import whole_file
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.dot_names import write_names
from p2l.routing.evaluation.routing_evaluation import GeneralScores

COLOURS = {
    P2L: "#d95f02",
    END: "#e7298a",
    BOTH: "#a6611a",
    BLEND: "#e6ab02",
    RIDGE: "#1f77b4",
    NEIGHBOURS: "#66a61e",
    MIXTURE: "#555555",
}
PUBLISHED, SINGLE = "#7570b3", "#333333"
WIDTH, HEIGHT = 6.6, 4.6


def draw(report: Report, path: Path) -> None:
    """Write a PNG with a panel for each test."""
    figure = figure_of(report)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def figure_of(report: Report) -> Figure:
    """Return a panel for each test."""
    tests = list(report.table.tests)
    rows = max(len(report.choices[part]) for part in tests) + 3
    figure = new_figure(WIDTH * len(tests), HEIGHT if report.budgets else height_of_rows(rows))
    axes = figure.subplots(1, len(tests), squeeze=False)[0]
    for axis, part in zip(axes, tests, strict=True):
        if report.budgets:
            _draw_costs(axis, report, report.budgets[part], report.table.tests[part].measured)
        else:
            _draw_choices(axis, report, part)
        axis.set_title(f"{report.table.name}, {part}: {len(report.table.tests[part]):,} prompts", fontsize=11)
    notes = [f"{'band' if report.budgets else 'bars'}: 95% intervals over prompts"]
    notes += [f"the band is that of {report.ours}"] if report.budgets else []
    key_below(figure, *notes)
    if report.budgets:
        places = [named_places(report.table.tests[part].measured) for part in tests]
        nameless = sum(write_names(figure, axis, one) for axis, one in zip(axes, places, strict=True))
        if nameless:
            change_caption(figure, *notes, f"{nameless} LLM{'s' if nameless > 1 else ''} without room for a name")
    return finish(figure)


def _draw_costs(axis: Axes, report: Report, found: BudgetFigures, test: MeasuredScores) -> None:
    axis.plot(*mixtures(test, found.budgets), "--", color=COLOURS[MIXTURE], lw=1.6, label=MIXTURE)
    for name in (one for one in reversed(COLOURS) if one in found.over):
        table = found.curves[name].table()
        axis.plot(table["cost"], table["quality"], "o-", color=COLOURS[name], markersize=4, lw=1.6, label=name)
        if name == report.ours:
            axis.fill_between(
                table["cost"], table["quality_low"], table["quality_high"], color=COLOURS[name], alpha=0.15
            )
    for name, values in report.published_rows(found).items():
        axis.plot(found.budgets, values, "D-", color=PUBLISHED, markersize=5, lw=1.2, label=name)
    cost, score = test.cost.mean(axis=0), test.mean_score()
    axis.plot(cost, score, "s", color=SINGLE, markersize=5, label="a single LLM")
    axis.set(xlabel="mean cost of a prompt (the budget, for published figures)", ylabel="mean score")
    axis.margins(y=0.1)
    tidy(axis)
    if cost.min() > 0:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())


def named_places(test: MeasuredScores) -> dict[str, tuple[float, float]]:
    """Return mean cost and score of each LLM, the best first; names lose their owner if they stay distinct."""
    tails = [model.split("/")[-1] for model in test.models]
    names = tails if len(set(tails)) == len(tails) else test.models
    cost, score = test.cost.mean(axis=0), test.mean_score()
    return {names[at]: (float(cost[at]), float(score[at])) for at in np.argsort(-score, kind="stable")}


def mixtures(test: MeasuredScores, budgets: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean costs and scores of the best random mixtures of single LLMs, densely enough for a curve."""
    whole = GeneralScores.of(test)
    given = np.unique(np.concatenate([np.linspace(*ends, 20) for ends in pairwise(sorted(budgets))] or [budgets]))
    shares = policies.blind(whole.score, whole.cost, given, 1)[:, 0]
    return shares @ whole.cost, shares @ whole.score


def _draw_choices(axis: Axes, report: Report, part: str) -> None:
    """Draw a dot with its interval for each method, and a diamond for each published figure."""
    rows = [(row.name, row.value.value, row.value.low, row.value.high) for row in report.choices[part]]
    scale = report.published.get("scale", 1)
    published = {name: one / scale for name, one in report.published.get("tests", {}).get(part, {}).items()}
    rows += [(f"{name}, published", value, np.nan, np.nan) for name, value in published.items()]
    rows.sort(key=lambda row: -row[1])
    for at, (name, value, low, high) in enumerate(rows):
        if np.isfinite(low):
            axis.errorbar(value, at, xerr=[[value - low], [high - value]], fmt="o", color=COLOURS.get(name, SINGLE))
        else:
            axis.plot(value, at, "D", color=PUBLISHED)
    name_rows(axis, range(len(rows)), [row[0] for row in rows])
    axis.set_xlabel("mean over tasks of the mean score")
    tidy(axis)
