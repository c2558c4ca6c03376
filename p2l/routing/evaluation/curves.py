"""Cost against quality of routing policies, with bootstrap intervals over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError
from p2l.routing.evaluation.policies import Shares
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums

_GRID = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """A policy at several budgets. Row 0 uses all prompts, the other rows prompts drawn with replacement.

    Attributes:
        budget: of each point; NaN without a budget.
        cost: mean actual cost of a prompt.
        quality: mean measured score of a prompt (``MeasuredScores.score``), over the known ones.
    """

    budget: Float64[np.ndarray, " points"]
    cost: Float64[np.ndarray, "draws points"]
    quality: Float64[np.ndarray, "draws points"]

    def at(self, costs: Sequence[float] | Float64[np.ndarray, " costs"]) -> Float64[np.ndarray, "draws costs"]:
        """Return the quality at these mean costs: linear between points (mixtures of two), constant beyond the ends."""
        rows = []
        for cost, quality in zip(self.cost, self.quality):
            order = np.argsort(cost, kind="stable")
            rows.append(np.interp(costs, cost[order], quality[order]))
        return np.array(rows)

    def area(self, low: float, high: float) -> Float64[np.ndarray, " draws"]:
        """Return the mean quality over the mean costs from ``low`` to ``high``."""
        return self.at(np.linspace(low, high, _GRID)).mean(axis=1)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Return a table of budget, cost and quality, with the ends of the intervals of cost and quality."""
        columns: dict[str, np.ndarray] = {"budget": self.budget}
        for name, values in (("cost", self.cost), ("quality", self.quality)):
            ends = [interval(values[:, point], level) for point in range(values.shape[1])]
            columns[name] = values[0]
            columns[f"{name}_low"] = np.array([end.low for end in ends])
            columns[f"{name}_high"] = np.array([end.high for end in ends])
        return pd.DataFrame(columns)


def interval(draws: Float64[np.ndarray, " draws"], level: float = 0.95) -> Interval:
    """Return the value (draw 0) with its percentile interval from the other draws."""
    return percentile_interval(draws[0], draws[1:], level)


def curves(
    policies: Mapping[str, Shares],
    budgets: Mapping[str, Float64[np.ndarray, " points"]],
    measured: MeasuredScores,
    *,
    seed: int = 0,
) -> dict[str, Curve]:
    """Return the curve of each policy. All policies share the prompts of a draw, so differences are paired.

    Args:
        policies: the shares of each policy.
        budgets: of the policies that have budgets.
        measured: scores and costs of the answers.
        seed: of the draws.

    Raises ConfigError if no chosen answer of a policy has a known score.
    """
    columns = [_sums(shares, measured) for shares in policies.values()]
    drawn = resampled_sums(*columns, seed=seed)
    found = {}
    for name, own, samples in zip(policies, columns, drawn, strict=True):
        total = np.concatenate((own.sum(axis=0, keepdims=True), samples))
        known, score, cost = np.split(total, 3, axis=1)
        if (known[0] == 0).any():
            raise ConfigError(f"{name}: no answer that it chose has a known score; provide more votes or scores")
        quality = np.divide(score, known, out=np.full(score.shape, np.nan), where=known > 0)
        budget = budgets.get(name, np.full(known.shape[1], np.nan))
        found[name] = Curve(budget, cost / len(measured), quality)
    return found


def _sums(shares: Shares, measured: MeasuredScores) -> Float64[np.ndarray, "prompts columns"]:
    """Return weight, weighted score and cost for each prompt and budget."""
    tables = (measured.weight, measured.weight * measured.score, measured.cost)
    return np.concatenate([np.einsum("bpm,pm->pb", shares, table) for table in tables], axis=1)
