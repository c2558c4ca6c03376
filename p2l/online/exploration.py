"""Explore by posterior sampling: how likely each model is the best one, within a cap on the cost of finding out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from p2l.options import check_number, check_share

Scores = Float64[np.ndarray, " models"]


@dataclass(frozen=True)
class ExploreOptions:
    """How much may be risked to learn.

    Attributes:
        cost_share: most that exploring may cost, as a share of the budget. What a choice costs more than the best one
            counts; what it costs less is not given back. 0: only cheaper models are tried; 1: no limit but the budget.
        most_loss: a model is tried only if its score is expected to be at most this much below the best choice's.
        least_score: and only if it is expected to have at least this score; None: no bound.
    """

    cost_share: float = 0.05
    most_loss: float = 0.2
    least_score: float | None = None

    def __post_init__(self) -> None:
        check_share("cost_share", self.cost_share)
        check_number("most_loss", self.most_loss, least=0)
        if self.least_score is not None:
            check_number("least_score", self.least_score)


class Exploration:
    """Thompson sampling with logged propensities (Thompson 1933; Chapelle and Li 2011).

    The choice is drawn from ``probabilities``, the shares of the posterior's draws in which each model is the best. So
    they are its exact propensities, given the draws.

    Attributes:
        options: the limits.
        granted: budget of all choices so far.
        extra: what exploring cost, as expected.
    """

    def __init__(self, options: ExploreOptions | None = None, granted: float = 0.0, extra: float = 0.0) -> None:
        self.options = options or ExploreOptions()
        self.granted, self.extra = granted, extra

    def probabilities(
        self,
        score: Scores,
        draws: Float64[np.ndarray, "draws models"],
        cost: Scores,
        price: float,
        able: Bool[np.ndarray, " models"],
        budget: float | None = None,
    ) -> Scores:
        """Return how likely each model is to be chosen, and book what exploring is expected to cost.

        Args:
            score: expected, of each model.
            draws: of the scores.
            cost: expected, of each model.
            price: score that one unit of cost must gain.
            able: models that may be chosen.
            budget: mean cost of a request; None: that of the best choice.
        """
        best = _best(score - price * cost, cost, able)
        least = score[best] - self.options.most_loss
        if self.options.least_score is not None:
            least = max(least, self.options.least_score)
        tried = able & (score >= least)
        tried[best] = True
        value = np.where(tried, draws - price * cost, -np.inf)
        found = np.bincount(value.argmax(1), minlength=len(score)) / len(draws)
        dearer = float(found @ np.maximum(cost - cost[best], 0))
        self.granted += float(cost[best]) if budget is None else budget
        room = self.options.cost_share * self.granted - self.extra
        if dearer > room:
            kept = max(0.0, room) / dearer
            found *= kept
            found[best] += 1 - kept
            dearer *= kept
        self.extra += dearer
        return found


def _best(value: Scores, cost: Scores, able: Bool[np.ndarray, " models"]) -> int:
    """Return the able model of the largest value, among equals the cheapest."""
    value = np.where(able, value, -np.inf)
    best = np.flatnonzero(value == value.max())
    return int(best[cost[best].argmin()])
