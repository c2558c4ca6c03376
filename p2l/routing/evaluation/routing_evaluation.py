"""How well a P2L model routes: every policy on the same prompts, at equal cost."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import Curve, curves, interval
from p2l.routing.evaluation.measured_scores import Measured
from p2l.routing.evaluation.policies import Shares
from p2l.routing.scores import Opponents, Optimizer, scores
from p2l.types import Ranking

STREAM, PER_PROMPT, STRICT, BATCH = "stream", "per-prompt LP", "strict", "batch"
SINGLE_MIXTURE, AFFORDABLE_SINGLE, BEST_SINGLE = "single mixture", "best affordable single", "best single"
ORACLE = "oracle"
CONSERVATIVE, CONSERVATIVE_LP = "conservative stream", "conservative LP"  # by scores shrunk toward the general ones


class Known(NamedTuple):
    """What is known of the LLMs before routing, from other prompts: mean scores, and the expected cost of a prompt."""

    score: Float64[np.ndarray, " models"]
    cost: Float64[np.ndarray, " models"]

    @classmethod
    def of(cls, measured: Measured) -> "Known":
        return cls(measured.mean_score(), measured.cost.mean(axis=0))

    @property
    def best(self) -> int:
        """The best LLM alone."""
        if not np.isfinite(self.score).any():
            raise DataError("no LLM has a score")
        return int(np.nanargmax(self.score))


@dataclass(frozen=True, eq=False)
class RoutingCurves:
    """The curves of all policies, and what they are compared at.

    Attributes:
        curves: by policy.
        singles: each LLM alone: mean cost and score on the same prompts.
        best: the LLM that was best on the other prompts.
    """

    models: tuple[str, ...]
    curves: dict[str, Curve]
    singles: dict[str, tuple[float, float]]
    best: str

    @property
    def ends(self) -> tuple[float, float]:
        """The least budget and the cost of the best LLM: what areas are taken over."""
        return float(self.curves[STREAM].budget.min()), self.singles[self.best][0]

    def plot_data(self, title: str, unit: str) -> dict[str, Any]:
        """Return what ``plot_routing`` draws, ready for JSON: the points of every curve and each LLM alone."""
        tables = {name: curve.table().replace(np.nan, None) for name, curve in self.curves.items()}
        points = {name: table.to_dict("list") for name, table in tables.items()}
        return {"title": title, "unit": unit, "singles": self.singles, "curves": points}

    def summary(self) -> dict[str, Any]:
        """Area, quality at the best single LLM's cost, the stream's spending, and differences at equal cost."""
        low, high = self.ends
        best = self.curves[BEST_SINGLE].quality
        found: dict[str, Any] = {
            "best_single": {"model": self.best, "cost": high, "quality": _said(best[:, 0])},
            "area_over_costs": [low, high],
        }
        stream = self.curves[STREAM]
        for name, curve in self.curves.items():
            if name not in (BEST_SINGLE, AFFORDABLE_SINGLE) and high > low:
                found[name] = {
                    "area": _said(curve.area(low, high)),
                    "stream_area_minus_this": _said(stream.area(low, high) - curve.area(low, high)),
                    "quality_at_best_single_cost": _said(curve.at([high])[:, 0]),
                    "minus_best_single": _said(curve.at([high])[:, 0] - best[:, 0]),
                }
        found["equal_cost"] = [self._at_equal_cost(point) for point in range(len(stream.budget))]
        return found

    def _at_equal_cost(self, point: int) -> dict[str, Any]:
        """The stream at one target: its mean cost, and its quality minus the others' at the cost it had."""
        stream = self.curves[STREAM]
        cost = float(stream.cost[0, point])
        said: dict[str, Any] = {"target": float(stream.budget[point]), "mean_cost": cost}
        said["over_target"] = cost / said["target"] - 1
        said["quality"] = _said(stream.quality[:, point])
        for name in (PER_PROMPT, STRICT, BATCH, SINGLE_MIXTURE):
            said[f"minus {name}"] = _said(stream.quality[:, point] - self.curves[name].at([cost])[:, 0])
        affordable = self.curves[AFFORDABLE_SINGLE].quality[:, point]
        said[f"minus {AFFORDABLE_SINGLE}"] = _said(stream.quality[:, point] - affordable)
        return said


def _said(draws: np.ndarray) -> dict[str, float]:
    found = interval(draws)
    return {"value": found.value, "low": found.low, "high": found.high}


def route_scores(
    optimizer: Optimizer, family: OutcomeFamily, rankings: Ranking, columns: list[int]
) -> Float64[np.ndarray, "prompts models"]:
    """What routers maximise, of the LLMs in ``columns``; opponents are all LLMs of the rankings, uniformly."""
    opponents = Opponents.of(np.ones(rankings.coefs.shape[-1]))
    found = scores(optimizer, family, rankings, opponents)[:, columns].numpy()
    if not np.isfinite(found).all():
        raise DataError("a ranking has a coefficient that is not finite")
    return found


def budget_range(known: Known, num_budgets: int) -> Float64[np.ndarray, " budgets"]:
    """Budgets of even ratios from the cheapest LLM's cost, and a quarter of leeway, to the best one's."""
    low, high = 1.25 * float(known.cost.min()), float(known.cost[known.best])
    if not high > low > 0:
        return np.array([max(high, 1e-12)])
    return np.geomspace(low, high, num_budgets)


def evaluate_routing(
    score: Float64[np.ndarray, "prompts models"],
    known: Known,
    measured: Measured,
    *,
    num_budgets: int = 12,
    seed: int = 0,
    shrunk: Float64[np.ndarray, "prompts models"] | None = None,
) -> RoutingCurves:
    """Every policy on the prompts of ``measured``, by predicted ``score`` and the expected costs of ``known``.

    ``shrunk``: the scores of a ``Shrinkage``, which the stream and the linear program are shown with too.
    """
    budgets = budget_range(known, num_budgets)
    shape = (len(measured), len(measured.models))
    chosen: dict[str, Shares] = {
        STREAM: policies.stream(score, known.cost, budgets, measured, seed),
        PER_PROMPT: policies.per_prompt(score, known.cost, budgets),
        STRICT: policies.strict(score, known.cost, budgets),
        BATCH: policies.batch(score, known.cost, budgets),
        SINGLE_MIXTURE: policies.blind(known.score, known.cost, budgets, shape[0]),
        AFFORDABLE_SINGLE: policies.single(known.score, known.cost, budgets, shape[0]),
        BEST_SINGLE: policies.single(known.score, known.cost, known.cost.max(keepdims=True), shape[0]),
        ORACLE: policies.oracle(measured),
    }
    if shrunk is not None:
        chosen[CONSERVATIVE] = policies.stream(shrunk, known.cost, budgets, measured, seed)
        chosen[CONSERVATIVE_LP] = policies.per_prompt(shrunk, known.cost, budgets)
    given = {name: budgets for name in chosen if name not in (BEST_SINGLE, ORACLE)}
    found = curves(chosen, given, measured, seed=seed)
    alone = zip(measured.models, measured.cost.mean(axis=0).tolist(), measured.mean_score().tolist())
    singles = {model: (cost, quality) for model, cost, quality in alone if np.isfinite(quality)}
    return RoutingCurves(measured.models, found, singles, measured.models[known.best])
