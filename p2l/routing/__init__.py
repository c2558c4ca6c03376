"""Choose a model for each prompt: within a budget, over a stream of prompts, or for a batch; evaluate the choices.

The modules are imported when a name is first used: ``python -m p2l.routing.openai_server`` imports this package before
it can set how the threads of torch wait.
"""

from typing import TYPE_CHECKING

from p2l.lazy_names import lazy_names

if TYPE_CHECKING:
    from p2l.routing.build_router import make_router
    from p2l.routing.cost_optimizer import Optimizer
    from p2l.routing.decision import Decision, Router
    from p2l.routing.envelope import Frontier
    from p2l.routing.erased_tail import cheapest_decision, erase_tail, with_common_costs
    from p2l.routing.planner import BatchAssignment, Capacity, assign_batch
    from p2l.routing.prefix_costs import CachePrices, PrefixCosts, PrefixPrices
    from p2l.routing.risk import Risk, ScoreRisk
    from p2l.routing.shrinkage import Shrinkage
    from p2l.routing.shrinkage_fit import fit_shrinkage
    from p2l.routing.stream_budget import Spending, StreamBudget
    from p2l.routing.stream_budget_state import StreamBudgetState

__all__ = [
    "BatchAssignment",
    "CachePrices",
    "Capacity",
    "Decision",
    "Frontier",
    "Optimizer",
    "PrefixCosts",
    "PrefixPrices",
    "Risk",
    "Router",
    "ScoreRisk",
    "Shrinkage",
    "Spending",
    "StreamBudget",
    "StreamBudgetState",
    "assign_batch",
    "cheapest_decision",
    "erase_tail",
    "fit_shrinkage",
    "make_router",
    "with_common_costs",
]

_NAMES_OF_MODULE = {
    "p2l.routing.build_router": ("make_router",),
    "p2l.routing.cost_optimizer": ("Optimizer",),
    "p2l.routing.decision": ("Decision", "Router"),
    "p2l.routing.envelope": ("Frontier",),
    "p2l.routing.erased_tail": ("cheapest_decision", "erase_tail", "with_common_costs"),
    "p2l.routing.planner": ("BatchAssignment", "Capacity", "assign_batch"),
    "p2l.routing.risk": ("Risk", "ScoreRisk"),
    "p2l.routing.prefix_costs": ("CachePrices", "PrefixCosts", "PrefixPrices"),
    "p2l.routing.shrinkage": ("Shrinkage",),
    "p2l.routing.shrinkage_fit": ("fit_shrinkage",),
    "p2l.routing.stream_budget": ("Spending", "StreamBudget"),
    "p2l.routing.stream_budget_state": ("StreamBudgetState",),
}
__getattr__ = lazy_names(__name__, _NAMES_OF_MODULE)
