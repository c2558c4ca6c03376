"""The plot of cost against win rate: a dot for each LLM, the envelope of mixtures, and the choice at a budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64
from matplotlib.ticker import MaxNLocator

from p2l.explorer.prices import PER
from p2l.html import Html, join, scrolling, tag
from p2l.outcomes import OutcomeFamily
from p2l.routing import Decision, Frontier, Router, make_router
from p2l.types import Ranking

_STEPS = 24  # points of a chord of the envelope, which is curved on a log scale
_MOST_TICKS = 5
_EDGE = 3.0  # percent of the width left free on both sides, so that no dot hides a label of the axis
_PLOT = {"role": "img", "aria-label": "win rate of each LLM against its cost; the numbers are in the table"}


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs and win rates of LLMs on one prompt, and the best mixtures of them.

    Attributes:
        cost: dollars for ``PER`` requests; ignored for an LLM without a price.
        score: win rate against a random LLM of the checkpoint, which ``optimal-lp`` maximises.
        priced: which LLMs have a price.
        frontier: the vertices of the envelope.
    """

    cost: Float64[np.ndarray, " models"]
    score: Float64[np.ndarray, " models"]
    priced: Bool[np.ndarray, " models"]
    frontier: Frontier
    router: Router
    ranking: Ranking

    @classmethod
    def of(cls, family: OutcomeFamily, ranking: Ranking, cost: Float64[np.ndarray, " models"]) -> "Costs":
        """Route one prompt; ``cost`` is NaN for an LLM without a price, and at least one must have a price."""
        priced = ~np.isnan(cost)
        known = np.where(priced, cost, 0.0)
        router = make_router("optimal-lp", family, known)
        return cls(known, router.scores(ranking), priced, router.frontier(ranking, priced), router, ranking)

    def budget(self, share: float) -> float:
        """Return the dollars at a share of the cost axis, from the cheapest LLM (0) to the most expensive (1)."""
        low, high = self._ends()
        at = min(max(share, 0.0), 1.0)
        if not self.is_log():
            return low + at * (high - low)
        return min(max(low * (high / low) ** at, low), high)  # rounding must not give less than the cheapest

    def place(self, cost: float) -> float:
        """Return the position of a cost on the axis: the inverse of ``budget``."""
        low, high = self._ends()
        if high == low:
            return 0.5
        return math.log(cost / low) / math.log(high / low) if self.is_log() else (cost - low) / (high - low)

    def decide(self, budget: float) -> Decision:
        """Return the decision of the router: the mixture that it would draw from."""
        return self.router.decide(self.ranking, budget, np.random.default_rng(0), self.priced)

    def ticks(self) -> list[float]:
        """Return round costs on the axis, at most five, or its ends if there is none."""
        low, high = self._ends()
        if self.is_log():
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            found = [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= m * 10.0**k <= high]
        else:
            found = [x for x in MaxNLocator(_MOST_TICKS - 1).tick_values(low, high) if low <= x <= high]
        return found[:: -(-len(found) // _MOST_TICKS)] if len(found) > 1 else sorted({low, high})

    def _ends(self) -> tuple[float, float]:
        cost = self.cost[self.priced]
        return float(cost.min()), float(cost.max())

    def is_log(self) -> bool:
        """Return whether the cost axis is logarithmic, which needs costs above 0."""
        low, high = self._ends()
        return 0 < low < high


def costs_view(models: Sequence[str], costs: Costs, share: float) -> Html:
    """Return the plot, the table of envelope vertices, and the decision at ``share`` of the cost axis."""
    budget = costs.budget(share)
    decision = costs.decide(budget)
    without = int((~costs.priced).sum())
    scale = ", on a log scale" if costs.is_log() else ""
    text = (
        f"Cost: dollars per {PER:,} requests like this{scale}. Win rate: against an LLM drawn at random. "
        "Numbered dots: the LLMs of the table, which mixtures are made from; the tooltip of a dot has its name. "
        "Dashed line: the budget. Ring: the choice."
    )
    more = f" Omitted, without a price: {without} of {len(models)} LLMs." if without else ""
    return join(
        (
            tag("p", *_decision_text(models, budget, decision)),
            _plot(models, costs, budget, decision),
            _vertices(models, costs, decision),
            tag("p.soft", text + more),
        )
    )


def dollars(cost: float) -> str:
    """Format dollars: whole from $100, cents from $0.10, two significant digits below."""
    if cost >= 100:
        return f"${cost:,.0f}"
    return f"${cost:.2f}" if cost >= 0.1 or cost == 0 else f"${float(f'{cost:.2g}'):g}"


def _decision_text(models: Sequence[str], budget: float, decision: Decision) -> list[object]:
    """Return the sentence that describes the mixture."""
    mixed = np.flatnonzero(decision.probabilities).tolist()
    best_first = sorted(mixed, key=lambda i: -decision.probabilities[i])
    shares = [f"{decision.probabilities[i]:.0%} {models[i]}" for i in best_first]
    price = (
        f" At this budget a dollar buys {100 * decision.shadow_price:.3g} points of win rate."
        if decision.shadow_price
        else ""
    )
    return [
        f"With a budget of {dollars(budget)} the router takes ",
        tag("b", " and ".join(shares) if len(shares) > 1 else models[best_first[0]]),
        f": win rate {decision.expected_score:.1%} for {dollars(decision.expected_cost)}.{price}",
    ]


def _plot(models: Sequence[str], costs: Costs, budget: float, decision: Decision) -> Html:
    """Draw the plot with positions in percent, so that it fits any screen at constant text and line sizes."""
    score = costs.score[costs.priced]
    ticks = MaxNLocator(4).tick_values(float(score.min()), float(score.max()) + 1e-9)
    low, high = float(ticks[0]), float(ticks[-1])

    def at(cost: float, score: float) -> tuple[float, float]:
        return _across(costs, cost), 100 - 100 * (score - low) / (high - low)

    order = {model: number for number, model in enumerate(costs.frontier.model.tolist(), start=1)}
    dots = [
        _dot(*at(costs.cost[i], costs.score[i]), f"{models[i]}: {costs.score[i]:.1%}", order.get(i))
        for i in sorted(np.flatnonzero(costs.priced).tolist(), key=lambda i: i in order)
    ]
    x, y = at(decision.expected_cost, decision.expected_score)
    chosen = tag("b.chosen", attributes={"style": f"left:{x:.2f}%;top:{y:.2f}%"})
    line = tag("u.budget", attributes={"style": f"left:{_across(costs, budget):.2f}%"})
    rows = [tag("span.y", f"{tick:.0%}", attributes={"style": f"top:{at(budget, tick)[1]:.2f}%"}) for tick in ticks]
    columns = [
        tag("span.x", dollars(tick), attributes={"style": f"left:{_across(costs, tick):.2f}%"})
        for tick in costs.ticks()
    ]
    curve = _curve([at(cost, score) for cost, score in _envelope(costs)])
    return tag("div.plot", tag("div", *rows, *columns, line, curve, *dots, chosen), attributes=_PLOT)


def _across(costs: Costs, cost: float) -> float:
    """Return the horizontal position of a cost in percent."""
    return _EDGE + (100 - 2 * _EDGE) * costs.place(cost)


def _envelope(costs: Costs) -> list[tuple[float, float]]:
    """Return points along the chords, then level from the best LLM to the most expensive."""
    cost, score = costs.frontier.cost, costs.frontier.score
    highest = float(costs.cost[costs.priced].max())
    if len(cost) == 1:
        return [(float(cost[0]), float(score[0])), (highest, float(score[0]))]
    along = [np.geomspace(*ends, _STEPS) if ends[0] > 0 else np.linspace(*ends, _STEPS) for ends in pairwise(cost)]
    on = np.concatenate(along).clip(cost[0], cost[-1])
    return [*zip(on.tolist(), np.interp(on, cost, score).tolist()), (highest, float(score[-1]))]


def _curve(points: Sequence[tuple[float, float]]) -> Html:
    line = tag("polyline", attributes={"points": " ".join(f"{x:.2f},{y:.2f}" for x, y in points)})
    return tag("svg", line, attributes={"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "aria-hidden": "true"})


def _dot(x: float, y: float, title: str, number: int | None) -> Html:
    kind = "b.vertex" if number else "b"
    return tag(kind, number or "", attributes={"style": f"left:{x:.2f}%;top:{y:.2f}%", "title": title})


def _vertices(models: Sequence[str], costs: Costs, decision: Decision) -> Html:
    rows = []
    for number, model in enumerate(costs.frontier.model.tolist(), start=1):
        share = float(decision.probabilities[model])
        cells = (dollars(costs.cost[model]), f"{costs.score[model]:.1%}", f"{share:.0%}" if share else "")
        name = tag("td.name", models[model])
        rows.append(tag("tr", tag("td.number", number), name, *(tag("td.number", cell) for cell in cells)))
    names = (("#", ".number"), ("LLM", ""), ("cost", ".number"), ("win rate", ".number"), ("share", ".number"))
    head = tag("tr", *(tag(f"th{kind}", name, attributes={"scope": "col"}) for name, kind in names))
    return scrolling(tag("table", tag("thead", head), tag("tbody", *rows)))
