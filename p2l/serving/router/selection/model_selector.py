"""Which models to ask for a request, in what order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from p2l.errors import InfeasibleBudget
from p2l.outcomes import OutcomeFamily
from p2l.routing.decision import Decision, make_router
from p2l.routing.scores import Optimizer
from p2l.routing.stream_budget import Spending, StreamBudget
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.api.chat_request import ChatRequest
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.capabilities import Requirements
from p2l.types import Ranking


@dataclass(frozen=True, eq=False)
class RoutingPlan:
    """Whom to ask, in this order, and why.

    Attributes:
        candidates: the model that was chosen, then those to fall back to.
        scores: of every configured model that the P2L model knows; None where nothing was scored.
        decision: of the optimiser; None where the client, its session or a default chose.
        reason: ``routed``, ``stream`` (by the price of a stream budget), ``direct``, ``session``, ``pinned`` (by
            the response it follows) or ``default``.
        stream: the stream budget that chose.
        spending: what it has booked.
    """

    candidates: tuple[str, ...]
    reason: str
    scores: dict[str, float] | None = None
    decision: Decision | None = None
    stream: StreamBudget | None = None
    spending: Spending | None = None

    @property
    def chosen(self) -> str:
        return self.candidates[0]

    def settle(self, cost: float) -> None:
        """Book what a choice of the stream budget truly cost."""
        if self.stream is not None and self.spending is not None:
            self.stream.settle(self.spending, cost)


class ModelSelector:
    """Chooses among the configured models that the P2L model has coefficients for."""

    def __init__(
        self, config: ServerConfig, names: tuple[str, ...], family: OutcomeFamily, optimizer: Optimizer
    ) -> None:
        self.config = config
        self.names = names
        models = config.model_configs
        self.served = np.array([name in models for name in names])
        costs = [models[name].cost if name in models else 0.0 for name in names]
        weights = config.router.opponents
        opponents = None if weights is None else [weights.get(name, 0.0) for name in names]
        shrinkage = None if config.shrinkage is None else config.shrinkage.aligned(names)
        self.router = make_router(optimizer, family, costs, opponents, shrinkage)
        self.costs = np.array(costs)

    @property
    def unranked(self) -> list[str]:
        """The configured models without a coefficient, which only ``direct_model`` reaches."""
        return [name for name in self.config.model_configs if name not in self.names]

    def choose(
        self,
        ranking: Ranking,
        ask: ChatRequest,
        needs: Requirements,
        allowed: Iterable[str] | None,
        available: Callable[[str], bool],
        rng: np.random.Generator,
        stream: StreamBudget | None = None,
    ) -> RoutingPlan:
        """The optimiser's choice among the models that can answer, and the others within the budget by score.

        Those that rest after failures are chosen only where no other can be. Raises ``ApiError`` 400 where none can
        answer or none is cheap enough.
        """
        able = self._able(needs, allowed)
        awake = able & np.array([available(name) for name in self.names])
        if stream is not None and ask.budget is None:
            return self._on_stream(ranking, stream, able, awake)
        decision, mask = self._decide(ranking, ask.budget, able, awake, rng)
        ceiling = None if ask.budget is None else max(ask.budget, float(self.costs[decision.model]))
        candidates = self._order(ranking, decision.model, ceiling, able, mask)
        return RoutingPlan(candidates, "routed", self.scores(ranking), decision)

    def _on_stream(
        self,
        ranking: Ranking,
        stream: StreamBudget,
        able: Bool[np.ndarray, " models"],
        awake: Bool[np.ndarray, " models"],
    ) -> RoutingPlan:
        """The choice at the stream's price; a fallback costs no more than it, so that the mean is not overdrawn."""
        mask = awake if awake.any() else able
        spending = stream.choose(self.router.scores(ranking), self.costs, mask)
        candidates = self._order(ranking, spending.model, float(self.costs[spending.model]), able, mask)
        return RoutingPlan(candidates, "stream", self.scores(ranking), stream=stream, spending=spending)

    def _order(
        self,
        ranking: Ranking,
        chosen: int,
        ceiling: float | None,
        able: Bool[np.ndarray, " models"],
        mask: Bool[np.ndarray, " models"],
    ) -> tuple[str, ...]:
        """The chosen model, then those within the ceiling by score, those that rest last."""
        order = [int(index) for index in self.router.ranked(ranking, ceiling, able) if index != chosen]
        order.sort(key=lambda index: not mask[index])
        return tuple(self.names[index] for index in (chosen, *order))

    def scores(self, ranking: Ranking) -> dict[str, float]:
        """What clients are shown: shrunk scores, or as published the coefficients (grounded: their sigmoid)."""
        if self.router.shrinkage is not None:
            values = self.router.scores(ranking).tolist()
        else:
            coefs = ranking.coefs.double()
            values = (coefs if self.router.family.shift_invariant else coefs.sigmoid()).tolist()
        return {name: value for name, value, here in zip(self.names, values, self.served) if here}

    def _able(self, needs: Requirements, allowed: Iterable[str] | None) -> Bool[np.ndarray, " models"]:
        models = self.config.model_configs
        permitted = models.keys() if allowed is None else set(allowed)
        lacks = {name: needs.missing(models[name]) for name in self.names if name in models and name in permitted}
        able = np.array([not lacks.get(name, ["it"]) for name in self.names], dtype=bool)
        if not able.any():
            raise _nobody(lacks)
        return able

    def _decide(
        self,
        ranking: Ranking,
        budget: float | None,
        able: Bool[np.ndarray, " models"],
        awake: Bool[np.ndarray, " models"],
        rng: np.random.Generator,
    ) -> tuple[Decision, Bool[np.ndarray, " models"]]:
        if awake.any():
            try:
                return self.router.decide(ranking, budget, rng, awake), awake
            except InfeasibleBudget:
                pass  # a cheaper one rests
        try:
            return self.router.decide(ranking, budget, rng, able), able
        except InfeasibleBudget as error:
            raise infeasible(self.names[error.cheapest], error.cost, error.budget) from None


def infeasible(name: str, cost: float, budget: float) -> ApiError:
    return invalid(
        f"no model that can answer this costs {budget:g} or less; the cheapest is {name}, at {cost:g}",
        "cost",
        "infeasible_budget",
    )


def _nobody(lacks: dict[str, list[str]]) -> ApiError:
    if not lacks:
        return ApiError(403, "this key has no model that can be routed to", "no_model")
    missing = sorted({what for whats in lacks.values() for what in whats})
    return invalid(f"no model can answer this request, which needs {', '.join(missing)}", code="unsupported")
