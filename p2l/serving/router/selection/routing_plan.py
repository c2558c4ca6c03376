"""The models for one request, in the order of the calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from p2l.routing.decision import Decision
from p2l.routing.risk import Risk
from p2l.routing.stream_budget import Spending, StreamBudget
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.conversation.read_text import ReadText


class PredictedCost(NamedTuple):
    """Predicted cost of one answer: the ``expected`` one, and the amount to ``hold`` in a key's budget before it."""

    expected: float
    hold: float


PredictedCosts = Mapping[str, PredictedCost]
"""Of the models whose cost is predicted, by name."""


@dataclass(frozen=True)
class SwitchPrices:
    """What the conversation of a request adds to the costs that its decision compares.

    Attributes:
        before: the model that answered last.
        tokens: of the beginning of the conversation, which the next model reads or enters.
        read: cost of reading it from the prompt cache of each candidate, once it is there.
        enter: cost of what that cache lacks: the price of a switch to the candidate.
        is_counted: whether they were part of the decision; not if a budget pays for no model at these prices, nor if
            neither a budget nor the configuration says what a cost is worth.
    """

    before: str
    tokens: int
    read: Mapping[str, float]
    enter: Mapping[str, float]
    is_counted: bool = True


@dataclass(frozen=True, eq=False)
class RoutingPlan:
    """Which models to call for a request, and why.

    Attributes:
        candidates: the chosen model, then the fallbacks.
        reason: ``routed``; ``stream`` (by the price of a stream budget); ``direct`` (named by the client);
            ``session``; ``escalated`` (a model that scores higher than the session's, which makes no progress);
            ``pinned`` (by the response that it continues); or ``default`` (nothing could be scored).
        scores: of each configured model that the P2L model ranks; None if nothing was scored.
        decision: of the optimiser; None if it did not choose.
        stream_budget: the stream budget that chose.
        spending: the cost that it booked.
        tail_erased: whether the decision is that of the prompt without its tail, which is cheaper.
        read: the text that was scored; None if nothing was.
        risk: by which the scores were taken; None: they are those of the estimates, or nothing was scored.
        switch: prices of a switch between models; None: not decided within a conversation.
        costs: of the candidates whose cost is predicted: on this prompt, or their means if nothing was scored.
    """

    candidates: tuple[str, ...]
    reason: str
    scores: dict[str, float] | None = None
    decision: Decision | None = None
    stream_budget: StreamBudget | None = None
    spending: Spending | None = None
    costs: PredictedCosts = field(default_factory=dict)
    tail_erased: bool = False
    read: ReadText | None = None
    risk: Risk | None = None
    switch: SwitchPrices | None = None

    @property
    def chosen(self) -> str:
        return self.candidates[0]

    def switch_cost(self, name: str) -> float | None:
        """Return the price of the switch to a model; None if it answered before, or no other did."""
        if self.switch is None or name == self.switch.before:
            return None
        return self.switch.enter.get(name)

    def priced(self, config: ServerConfig, name: str, *, hold: bool = False) -> ModelConfig:
        """Return a candidate with the cost of its answer; ``hold``: with the amount to hold before it."""
        model = config.model_configs[name]
        if not model.predicts_cost:
            return model
        cost = self.costs[name]
        return model.with_cost(cost.hold if hold else cost.expected)
