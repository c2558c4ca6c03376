"""Choose the model for a prompt within a budget: exact, in microseconds."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from p2l.arrays import to_numpy
from p2l.errors import ConfigError, DataError, InfeasibleBudget
from p2l.outcomes import OutcomeFamily
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.envelope import Frontier, Mixture, Point, mix, pareto, upper_envelope
from p2l.routing.risk import ScoreRisk
from p2l.routing.scores import Opponents, scores, strength
from p2l.routing.shrinkage import Shrinkage
from p2l.types import Ranking


@dataclass(frozen=True, eq=False)
class Decision:
    """The model chosen for one prompt, and the optimum it was drawn from.

    Attributes:
        model: index of the model; drawn from ``probabilities``.
        probabilities: the mixture; at most two models have a positive one.
        expected_cost: of the mixture, in the unit of the budget.
        expected_score: of the mixture.
        shadow_price: gain in score for one more unit of budget; 0 if the budget does not bind. For ``strict`` it is
            that of the mixture that ``simple-lp`` would choose.
        router: that decided.
        ranking: of the prompt.
        mask: models that could be chosen; None: all.
    """

    model: int
    probabilities: Float64[np.ndarray, " models"]
    expected_cost: float
    expected_score: float
    shadow_price: float
    router: "Router"
    ranking: Ranking
    mask: Bool[np.ndarray, " models"] | None

    @cached_property
    def scores(self) -> Float64[np.ndarray, " models"]:
        """The maximised scores (``p2l.routing.scores``); NaN for a masked model."""
        score = self.router.scores(self.ranking)
        if self.mask is not None:
            score[~self.mask] = np.nan
        return score

    @cached_property
    def strength(self) -> float | None:
        """The router's own coefficient (nats) for ``optimal-lp``, else None; see ``p2l.routing.scores.strength``."""
        return self.router.strength(self.ranking, self.probabilities)


@final
@dataclass(frozen=True, eq=False)
class Router:
    """Chooses a model for a prompt, given its ranking and a budget. Create it with ``make_router``.

    ``strict``: the best score at a cost within the budget. ``simple-lp``: max p.score subject to p.cost <= budget, so
    that the budget holds in expectation. ``optimal-lp``: the same with the win rate against the opponents as score
    (Frick et al. 2025, arXiv:2502.14855, section on routing). Among equal scores the cheaper model wins. Without a
    budget the best score wins. The LPs are solved on the concave envelope (``p2l.routing.envelope``).

    ``predicted``: models whose cost on a prompt is that of its ranking (``Ranking.costs``); None: none.
    ``risk``: scores under a posterior in place of those of the estimates.
    """

    optimizer: Optimizer
    family: OutcomeFamily
    costs: Float64[np.ndarray, " models"]
    opponents: Opponents
    by_cost: Int64[np.ndarray, " models"]
    shrinkage: Shrinkage | None = None
    predicted: Bool[np.ndarray, " models"] | None = None
    risk: ScoreRisk | None = None

    def decide(
        self,
        ranking: Ranking,
        budget: float | None,
        rng: np.random.Generator,
        mask: Bool[np.ndarray, " models"] | None = None,
    ) -> Decision:
        """Return the model for a prompt of this ranking; ``mask``: models that may be chosen.

        Draws a random number only if the optimum is a mixture. Raises InfeasibleBudget if the budget is below every
        cost, DataError if a coefficient or a predicted cost is not finite, and ConfigError if costs must be predicted
        and the ranking has none.
        """
        costs = self.costs_of(ranking)
        order = self._allowed(mask, costs)
        if budget is not None and not budget >= costs[order[0]]:
            cheapest = int(order[0])
            raise InfeasibleBudget(cheapest, float(costs[cheapest]), budget)
        mixture = self._optimum(ranking, order, costs, budget)
        low, high, share = mixture.low, mixture.high, mixture.share
        probabilities = np.zeros(len(costs))
        probabilities[high] = share
        probabilities[low] = 1 - share
        return Decision(
            model=low if low == high or rng.random() >= share else high,
            probabilities=probabilities,
            expected_cost=float(costs[low] + share * (costs[high] - costs[low])),
            expected_score=mixture.score,
            shadow_price=mixture.price,
            router=self,
            ranking=ranking,
            mask=mask,
        )

    def only(self, model: int, ranking: Ranking, mask: Bool[np.ndarray, " models"] | None = None) -> Decision:
        """Return the decision for one model that was chosen otherwise than by a budget."""
        costs, score = self.costs_of(ranking), self.scores(ranking)
        certain = np.zeros(len(costs))
        certain[model] = 1.0
        return Decision(model, certain, float(costs[model]), float(score[model]), 0.0, self, ranking, mask)

    def frontier(self, ranking: Ranking, mask: Bool[np.ndarray, " models"] | None = None) -> Frontier:
        """Return the best expected score at every budget, as the vertices of the concave envelope."""
        costs = self.costs_of(ranking)
        return Frontier.of(upper_envelope(self._pareto(ranking, self._allowed(mask, costs), costs)))

    def ranked(
        self, ranking: Ranking, budget: float | None, mask: Bool[np.ndarray, " models"] | None = None
    ) -> Int64[np.ndarray, " feasible"]:
        """Return the models within the budget as fallbacks: best score first, among equals the cheaper one."""
        costs = self.costs_of(ranking)
        order = self._allowed(mask, costs)
        feasible = order if budget is None else order[costs[order] <= budget]
        return feasible[np.argsort(-self.scores(ranking)[feasible], kind="stable")]

    def costs_of(self, ranking: Ranking) -> Float64[np.ndarray, " models"]:
        """Return the cost of each model on a prompt: that of the router, or of the ranking if it is predicted."""
        if self.predicted is None:
            return self.costs
        if ranking.costs is None:
            raise ConfigError("costs are to be predicted, and the ranking has none: its checkpoint predicts no costs")
        costs = np.where(self.predicted, to_numpy(ranking.costs), self.costs)
        wrong = np.flatnonzero(~(np.isfinite(costs) & (costs >= 0)))
        if len(wrong):
            raise DataError(f"the predicted cost of model {wrong[0]} is not a finite number of 0 or more")
        return costs

    def at_costs(self, costs: Float64[np.ndarray, " models"]) -> "Router":
        """Return the same router with other costs, such as those of one request, none of which is predicted."""
        return replace(self, costs=costs, by_cost=np.argsort(costs, kind="stable"), predicted=None)

    def scores(self, ranking: Ranking) -> Float64[np.ndarray, "*batch models"]:
        """Return the score of each model on each prompt, which the router maximises."""
        if self.risk is not None:
            return self.risk.scores(self.optimizer, self.family, ranking, self.opponents)
        predicted = scores(self.optimizer, self.family, ranking, self.opponents)
        return predicted if self.shrinkage is None else self.shrinkage(predicted)

    def strength(self, ranking: Ranking, probabilities: Float64[np.ndarray, " models"]) -> float | None:
        """Return the coefficient of one model that wins as often as the mixture, for ``optimal-lp``; else None."""
        if self.optimizer != "optimal-lp":
            return None
        mixed = probabilities.nonzero()[0]
        coefs = to_numpy(ranking.coefs)[mixed].tolist()
        if len(mixed) == 1:
            return float(coefs[0])
        rates = scores(self.optimizer, self.family, ranking, self.opponents, mixed)
        low, high = sorted(zip(coefs, rates.tolist()))
        return strength(self.family, ranking, self.opponents, float(rates @ probabilities[mixed]), (low, high))

    def _allowed(
        self, mask: Bool[np.ndarray, " models"] | None, costs: Float64[np.ndarray, " models"]
    ) -> Int64[np.ndarray, " allowed"]:
        """Return the models that may be chosen, cheapest first."""
        by_cost = self.by_cost if costs is self.costs else np.argsort(costs, kind="stable")
        if mask is None:
            return by_cost
        order = by_cost[mask[by_cost]]
        if not len(order):
            raise ConfigError("the mask leaves no model to choose from")
        return order

    def _optimum(
        self,
        ranking: Ranking,
        order: Int64[np.ndarray, " allowed"],
        costs: Float64[np.ndarray, " models"],
        budget: float | None,
    ) -> Mixture:
        points = self._pareto(ranking, order, costs)
        mixture = mix(upper_envelope(points), budget)
        if self.optimizer != "strict" or budget is None:
            return mixture
        best = max(point for point in points if point.cost <= budget)  # scores rise with costs here
        return Mixture(best.model, best.model, 0.0, mixture.price, best.score)

    def _pareto(
        self, ranking: Ranking, order: Int64[np.ndarray, " allowed"], costs: Float64[np.ndarray, " models"]
    ) -> list[Point]:
        """Return the models that are better than all cheaper ones, cheapest first.

        Scores rise with coefficients (those that a risk has moved, if any), so only the models returned need one. They
        do not with shrinkage, or if they are expected ones.
        """
        if ranking.coefs.shape != (len(self.costs),):
            raise ConfigError(
                f"one coefficient for each of the router's {len(self.costs)} models is needed; "
                f"the ranking has shape {tuple(ranking.coefs.shape)}"
            )
        coefs = to_numpy(ranking.coefs)
        if not np.isfinite(coefs).all():
            raise DataError(f"the coefficient of model {np.flatnonzero(~np.isfinite(coefs))[0]} is not finite")
        if self.shrinkage is not None or not (self.risk is None or self.risk.moves_coefs):
            every = self.scores(ranking)
            if np.isnan(every[order]).any():
                raise ConfigError("the shrinkage lacks a model that may be chosen; mask it")
            model = order[pareto(every[order])]
            score = every[model]
        else:
            own = coefs if self.risk is None else self.risk.coefs(ranking)
            model = order[pareto(own[order])]
            score = scores(
                self.optimizer, self.family, ranking, self.opponents, model, None if self.risk is None else own
            )
        return list(map(Point._make, zip(costs[model].tolist(), score.tolist(), model.tolist())))
