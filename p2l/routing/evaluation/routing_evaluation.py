"""Evaluate how well a P2L model routes: every policy on the same prompts, compared at equal cost."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from p2l.arrays import to_numpy
from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError, DataError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.routing.build_router import make_router
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import Curve, curves, interval
from p2l.routing.evaluation.policies import Shares
from p2l.routing.risk import Risk
from p2l.types import Ranking

STREAM, PER_PROMPT, STRICT, BATCH = "stream", "per-prompt LP", "strict", "batch"
SINGLE_MIXTURE, AFFORDABLE_SINGLE, BEST_SINGLE = "single mixture", "best affordable single", "best single"
ORACLE = "oracle"
RISK, RISK_LP = "risk stream", "risk LP"  # with scores under the posterior of the head
CONSERVATIVE, CONSERVATIVE_LP = "conservative stream", "conservative LP"  # with scores shrunk toward the general ones


class GeneralScores(NamedTuple):
    """Mean score and expected cost of each LLM, from other prompts; known before routing."""

    score: Float64[np.ndarray, " models"]
    cost: Float64[np.ndarray, " models"]

    @classmethod
    def of(cls, measured: MeasuredScores) -> "GeneralScores":
        return cls(measured.mean_score(), measured.cost.mean(axis=0))

    @property
    def best(self) -> int:
        """Index of the best single LLM."""
        if not np.isfinite(self.score).any():
            raise DataError("no LLM has a score")
        return int(np.nanargmax(self.score))


@dataclass(frozen=True, eq=False)
class RoutingCurves:
    """The curves of all policies, with the points of comparison.

    Attributes:
        curves: by policy.
        singles: mean cost and score of each LLM alone, on the same prompts.
        best: LLM with the best general score.
    """

    models: tuple[str, ...]
    curves: dict[str, Curve]
    singles: dict[str, tuple[float, float]]
    best: str

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest budget and the cost of the best LLM; areas are taken between them."""
        return float(self.curves[STREAM].budget.min()), self.singles[self.best][0]

    def plot_data(self, title: str, unit: str) -> dict[str, Any]:
        """Return what ``plot_routing`` draws, ready for JSON: the points of every curve and each LLM alone."""
        tables = {name: curve.table().replace(np.nan, None) for name, curve in self.curves.items()}
        points = {name: table.to_dict("list") for name, table in tables.items()}
        return {"title": title, "unit": unit, "singles": self.singles, "curves": points}

    def summary(self) -> dict[str, Any]:
        """Return areas, quality at the best single LLM's cost, spending of the stream, differences at equal cost."""
        low, high = self.ends
        best = self.curves[BEST_SINGLE].quality
        found: dict[str, Any] = {
            "best_single": {"model": self.best, "cost": high, "quality": _interval(best[:, 0])},
            "area_over_costs": [low, high],
        }
        stream = self.curves[STREAM]
        for name, curve in self.curves.items():
            if name not in (BEST_SINGLE, AFFORDABLE_SINGLE) and high > low:
                found[name] = {
                    "area": _interval(curve.area(low, high)),
                    "stream_area_minus_this": _interval(stream.area(low, high) - curve.area(low, high)),
                    "quality_at_best_single_cost": _interval(curve.at([high])[:, 0]),
                    "minus_best_single": _interval(curve.at([high])[:, 0] - best[:, 0]),
                }
        found["equal_cost"] = [self._at_equal_cost(point) for point in range(len(stream.budget))]
        return found

    def _at_equal_cost(self, point: int) -> dict[str, Any]:
        """Return the stream budget at one target: its mean cost, and its quality minus the others' at that cost."""
        stream = self.curves[STREAM]
        cost = float(stream.cost[0, point])
        row: dict[str, Any] = {"target": float(stream.budget[point]), "mean_cost": cost}
        row["over_target"] = cost / row["target"] - 1
        row["quality"] = _interval(stream.quality[:, point])
        for name in (PER_PROMPT, STRICT, BATCH, SINGLE_MIXTURE):
            row[f"minus {name}"] = _interval(stream.quality[:, point] - self.curves[name].at([cost])[:, 0])
        affordable = self.curves[AFFORDABLE_SINGLE].quality[:, point]
        row[f"minus {AFFORDABLE_SINGLE}"] = _interval(stream.quality[:, point] - affordable)
        return row


def _interval(draws: np.ndarray) -> dict[str, float]:
    found = interval(draws)
    return {"value": found.value, "low": found.low, "high": found.high}


def route_scores(
    optimizer: Optimizer,
    family: OutcomeFamily,
    rankings: Ranking,
    columns: list[int],
    risk: Risk | None = None,
    posterior: HeadPosterior | None = None,
) -> Float64[np.ndarray, "prompts models"]:
    """Return the scores of the LLMs in ``columns``; their opponents are all LLMs of the rankings, uniformly.

    ``risk`` and ``posterior``: as in ``make_router``.
    """
    router = make_router(optimizer, family, np.ones(rankings.coefs.shape[-1]), risk=risk, posterior=posterior)
    found = router.scores(rankings)[:, columns]
    if not np.isfinite(found).all():
        raise DataError("a ranking has a coefficient that is not finite")
    return found


def predicted_costs(rankings: Ranking, columns: list[int]) -> Float64[np.ndarray, "prompts models"]:
    """Return the predicted costs of the LLMs in ``columns``; ConfigError if one of them has none."""
    if rankings.costs is None:
        raise ConfigError("costs=predicted: the checkpoint predicts no costs; p2l fit-costs adds them")
    found = to_numpy(rankings.costs)[:, columns]
    if not np.isfinite(found).all():
        raise ConfigError("costs=predicted: the checkpoint does not predict the costs of all LLMs of the scores")
    return found


def budget_range(known: GeneralScores, num_budgets: int) -> Float64[np.ndarray, " budgets"]:
    """Return budgets with equal ratios, from 1.25 times the cheapest LLM's cost to the best LLM's cost."""
    low, high = 1.25 * float(known.cost.min()), float(known.cost[known.best])
    if not high > low > 0:
        return np.array([max(high, 1e-12)])
    return np.geomspace(low, high, num_budgets)


def evaluate_routing(
    score: Float64[np.ndarray, "prompts models"],
    known: GeneralScores,
    measured: MeasuredScores,
    *,
    num_budgets: int = 12,
    seed: int = 0,
    shrunk: Float64[np.ndarray, "prompts models"] | None = None,
    by_risk: Float64[np.ndarray, "prompts models"] | None = None,
    cost: Float64[np.ndarray, "prompts models"] | None = None,
) -> RoutingCurves:
    """Run every policy on the prompts of ``measured`` and return the curves.

    Args:
        score: predicted, of each prompt and LLM.
        known: general scores and expected costs.
        measured: the truth.
        num_budgets: points of a curve.
        seed: of the order of the stream and of the bootstrap.
        shrunk: scores of a ``Shrinkage``; adds stream budget and linear program with them.
        by_risk: scores of a ``ScoreRisk``; adds the same two.
        cost: expected, of each prompt and LLM; None: the expected costs of ``known`` for every prompt.
    """
    budgets = budget_range(known, num_budgets)
    shape = (len(measured), len(measured.models))
    expected = np.broadcast_to(known.cost, shape) if cost is None else cost
    chosen: dict[str, Shares] = {
        STREAM: policies.stream(score, expected, budgets, measured, seed),
        PER_PROMPT: policies.per_prompt(score, expected, budgets),
        STRICT: policies.strict(score, expected, budgets),
        BATCH: policies.batch(score, expected, budgets),
        SINGLE_MIXTURE: policies.blind(known.score, known.cost, budgets, shape[0]),
        AFFORDABLE_SINGLE: policies.single(known.score, known.cost, budgets, shape[0]),
        BEST_SINGLE: policies.single(known.score, known.cost, known.cost.max(keepdims=True), shape[0]),
        ORACLE: policies.oracle(measured),
    }
    for one, stream, program in ((shrunk, CONSERVATIVE, CONSERVATIVE_LP), (by_risk, RISK, RISK_LP)):
        if one is not None:
            chosen[stream] = policies.stream(one, expected, budgets, measured, seed)
            chosen[program] = policies.per_prompt(one, expected, budgets)
    given = {name: budgets for name in chosen if name not in (BEST_SINGLE, ORACLE)}
    found = curves(chosen, given, measured, seed=seed)
    alone = zip(measured.models, measured.cost.mean(axis=0).tolist(), measured.mean_score().tolist())
    singles = {model: (cost, quality) for model, cost, quality in alone if np.isfinite(quality)}
    return RoutingCurves(measured.models, found, singles, measured.models[known.best])
