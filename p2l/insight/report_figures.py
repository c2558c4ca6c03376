"""Figures of the report: the map of clusters, and the heat map of LLMs by group."""

from typing import Any

import numpy as np

from p2l.html import Html, join, scrolling, tag
from p2l.insight.analysis import Insight
from p2l.insight.prompt_groups import Clusters

WIDTH, HEIGHT, EDGE = 1000.0, 560.0, 24.0
MOST_POINTS = 3000  # a browser is slow with more
TIP_CHARACTERS = 160
GOLDEN_ANGLE = 137.508  # degrees between hues: they stay distinct for any number of clusters


def colour(cluster: int) -> str:
    """Return the CSS colour of a cluster, readable under white digits in light and dark mode."""
    return f"hsl({(215 + cluster * GOLDEN_ANGLE) % 360:.0f} 52% {42 + 8 * (cluster % 2)}%)"


def cluster_map(clusters: Clusters, texts: list[str]) -> Html:
    """Draw each prompt as a dot in its cluster's colour, with a tooltip; numbers mark the medians of clusters."""
    low, high = clusters.positions.min(axis=0), clusters.positions.max(axis=0)
    room = np.array([WIDTH, HEIGHT]) - 2 * EDGE
    at = EDGE + (clusters.positions - low) / np.where(high > low, high - low, 1.0) * room
    step = max(1, -(-len(at) // MOST_POINTS))
    dots = [
        tag(
            "circle",
            tag("title", f"{clusters.names[cluster]}: {texts[row][:TIP_CHARACTERS]}"),
            attributes={"cx": f"{at[row, 0]:.1f}", "cy": f"{at[row, 1]:.1f}", "r": 5, "fill": colour(cluster)},
        )
        for row, cluster in enumerate(clusters.labels.tolist())
        if row % step == 0
    ]
    marks = [_mark(i, *np.median(at[clusters.labels == i], axis=0)) for i in range(len(clusters.names))]
    box = {"viewBox": f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", "role": "img", "aria-label": "map of the clusters of prompts"}
    caption = "The two directions in which the embeddings differ most (PCA). Numbers: the clusters of the table below."
    if step > 1:
        caption += f" Drawn: {len(dots):,} of {len(at):,} prompts."
    return tag("figure", tag("svg.map", *dots, *marks, attributes=box), tag("figcaption", caption))


def _mark(cluster: int, x: float, y: float) -> Html:
    disc = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 15, "fill": colour(cluster), "stroke": "#fff", "stroke-width": 2}
    disc["style"] = "opacity:1"
    name = tag("text", cluster + 1, attributes={"x": f"{x:.1f}", "y": f"{y:.1f}"})
    return join((tag("circle", attributes=disc), name))


def heat_map(insight: Insight, kind: str, most: int) -> Html:
    """Tabulate ranks of the best LLMs and of those in focus in every group of a kind; discoveries are coloured."""
    found = insight.differences[insight.differences["kind"] == kind]
    groups = [group.name for group, _ in insight.groups if group.kind == kind]
    models = insight.overall.table()["model"].tolist()
    named = {*insight.focus, insight.questions.old, insight.questions.new}
    shown = [name for i, name in enumerate(models) if i < most or name in named]
    largest = max(1e-9, float(np.nanquantile(found["difference"].abs(), 0.95)))
    cells = {(row.model, row.group): row for row in found.itertuples()}
    ranks = dict(zip(insight.overall.models, insight.overall.ranks.tolist(), strict=True))
    head = tag("tr", tag("th"), *(_column(name) for name in ("all prompts", *groups)))
    body = [
        tag(
            "tr.focus" if name in insight.focus else "tr",
            tag("td", name, attributes={"title": name}),
            tag("td.cell", ranks[name]),
            *(_cell(cells[name, group], largest) for group in groups),
        )
        for name in shown
    ]
    rows = scrolling(tag("table.heat", tag("thead", head), tag("tbody", *body)))
    more = f", the first {most} of {len(models)} LLMs" if len(models) > len(shown) else ""
    return join((tag("h3", f"By {kind}{more}"), _colour_key(largest), rows))


def _colour_key(largest: float) -> Html:
    """Return the scale of the colours, between the Elo points of its ends."""
    return tag(
        "p.soft", f"lower than on all prompts, −{largest:.0f} Elo", tag("span.legend"), f"+{largest:.0f} Elo, higher"
    )


def _column(name: str) -> Html:
    return tag("th", tag("div", name), attributes={"scope": "col", "title": name})


def _cell(row: Any, largest: float) -> Html:
    size = f"{row.difference:+.0f} Elo points [{row.low:+.0f}, {row.high:+.0f}], {row.prompts} prompts"
    attributes = {"title": size}
    if row.verdict:
        side, strength = "up" if row.difference > 0 else "down", min(1.0, abs(row.difference) / largest)
        attributes["style"] = f"background:rgb(var(--{side}) / {0.08 + 0.72 * strength:.2f})"
    return tag("td.cell", row.rank, attributes=attributes)
