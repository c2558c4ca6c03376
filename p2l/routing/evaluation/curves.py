"""Cost against quality of routing policies, with bootstrap intervals over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from p2l.errors import ConfigError
from p2l.routing.evaluation.measured_scores import Measured
from p2l.routing.evaluation.policies import Shares
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums

_GRID = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """A policy at several budgets: row 0 as it is, the other rows over prompts drawn with replacement.

    Attributes:
        budget: what each point was given; NaN where it was given none.
        cost: mean true cost of a prompt.
        quality: mean true score of a prompt (``Measured.score``), over what is known.
    """

    budget: Float64[np.ndarray, " points"]
    cost: Float64[np.ndarray, "draws points"]
    quality: Float64[np.ndarray, "draws points"]

    def at(self, costs: Sequence[float] | Float64[np.ndarray, " costs"]) -> Float64[np.ndarray, "draws costs"]:
        """Quality at these mean costs, between points by a line (a mixture of two); beyond the last, the last."""
        rows = []
        for cost, quality in zip(self.cost, self.quality):
            order = np.argsort(cost, kind="stable")
            rows.append(np.interp(costs, cost[order], quality[order]))
        return np.array(rows)

    def area(self, low: float, high: float) -> Float64[np.ndarray, " draws"]:
        """Mean quality over the mean costs from ``low`` to ``high``."""
        return self.at(np.linspace(low, high, _GRID)).mean(axis=1)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Columns: budget, cost, quality, and the ends of the intervals of both."""
        columns: dict[str, np.ndarray] = {"budget": self.budget}
        for name, values in (("cost", self.cost), ("quality", self.quality)):
            ends = [interval(values[:, point], level) for point in range(values.shape[1])]
            columns[name] = values[0]
            columns[f"{name}_low"] = np.array([end.low for end in ends])
            columns[f"{name}_high"] = np.array([end.high for end in ends])
        return pd.DataFrame(columns)


def interval(draws: Float64[np.ndarray, " draws"], level: float = 0.95) -> Interval:
    """The value (draw 0) and its percentile interval from the others."""
    return percentile_interval(draws[0], draws[1:], level)


def curves(
    policies: Mapping[str, Shares],
    budgets: Mapping[str, Float64[np.ndarray, " points"]],
    measured: Measured,
    *,
    seed: int = 0,
) -> dict[str, Curve]:
    """The curve of each policy; the prompts of a draw are the same for all, so that differences are paired.

    ``budgets``: those of the policies that were given some.
    """
    columns = [_sums(shares, measured) for shares in policies.values()]
    drawn = resampled_sums(*columns, seed=seed)
    found = {}
    for name, own, samples in zip(policies, columns, drawn, strict=True):
        total = np.concatenate((own.sum(axis=0, keepdims=True), samples))
        known, score, cost = np.split(total, 3, axis=1)
        if (known[0] == 0).any():
            raise ConfigError(f"{name}: nothing is known of the answers it chose; more votes or scores are needed")
        quality = np.divide(score, known, out=np.full(score.shape, np.nan), where=known > 0)
        budget = budgets.get(name, np.full(known.shape[1], np.nan))
        found[name] = Curve(budget, cost / len(measured), quality)
    return found


def _sums(shares: Shares, measured: Measured) -> Float64[np.ndarray, "prompts columns"]:
    """Of each prompt and budget: the evidence, the score it adds up to, and the cost."""
    tables = (measured.weight, measured.weight * measured.score, measured.cost)
    return np.concatenate([np.einsum("bpm,pm->pb", shares, table) for table in tables], axis=1)
