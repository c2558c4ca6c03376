"""The models for one request, in the order of the calls."""

from dataclasses import dataclass

from p2l.routing.decision import Decision
from p2l.routing.stream_budget import Spending, StreamBudget


@dataclass(frozen=True, eq=False)
class RoutingPlan:
    """Which models to call for a request, and why.

    Attributes:
        candidates: the chosen model, then the fallbacks.
        reason: ``routed``; ``stream`` (by the price of a stream budget); ``direct`` (named by the client);
            ``session``; ``pinned`` (by the response that it continues); or ``default`` (nothing could be scored).
        scores: of each configured model that the P2L model ranks; None if nothing was scored.
        decision: of the optimiser; None if it did not choose.
        stream_budget: the stream budget that chose.
        spending: the cost that it booked.
    """

    candidates: tuple[str, ...]
    reason: str
    scores: dict[str, float] | None = None
    decision: Decision | None = None
    stream_budget: StreamBudget | None = None
    spending: Spending | None = None

    @property
    def chosen(self) -> str:
        return self.candidates[0]

    def settle(self, cost: float) -> None:
        """Replace the cost that the stream budget booked by the actual cost."""
        if self.stream_budget is not None and self.spending is not None:
            self.stream_budget.settle(self.spending, cost)
