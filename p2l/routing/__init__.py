"""Choose a model for each prompt: within a budget, over a stream, for a batch; and how well that did."""

from p2l.routing.decision import Decision, Router, make_router
from p2l.routing.envelope import Frontier
from p2l.routing.planner import Capacity, Plan, plan
from p2l.routing.scores import Optimizer
from p2l.routing.shrinkage import Shrinkage
from p2l.routing.stream_budget import Spending, StreamBudget
from p2l.routing.stream_state import StreamState

__all__ = [
    "Capacity",
    "Decision",
    "Frontier",
    "Optimizer",
    "Plan",
    "Router",
    "Shrinkage",
    "Spending",
    "StreamBudget",
    "StreamState",
    "make_router",
    "plan",
]
