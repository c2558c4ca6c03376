"""Choose a model for each prompt: within a budget, over a stream of prompts, or for a batch; evaluate the choices."""

from p2l.routing.decision import Decision, Router, make_router
from p2l.routing.envelope import Frontier
from p2l.routing.planner import BatchAssignment, Capacity, assign_batch
from p2l.routing.scores import Optimizer
from p2l.routing.shrinkage import Shrinkage
from p2l.routing.stream_budget import Spending, StreamBudget
from p2l.routing.stream_budget_state import StreamBudgetState

__all__ = [
    "BatchAssignment",
    "Capacity",
    "Decision",
    "Frontier",
    "Optimizer",
    "Router",
    "Shrinkage",
    "Spending",
    "StreamBudget",
    "StreamBudgetState",
    "assign_batch",
    "make_router",
]
