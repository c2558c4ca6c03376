"""Errors that p2l raises on purpose. A message holds what was expected, what came and what to do.

P2LError
├── DataError        a vote table, a prompt column or an output file is not valid
├── PromptError      one prompt cannot be encoded
├── ConfigError      an option or name is unknown or does not fit the others
├── CheckpointError  a checkpoint folder or hub repository cannot be read or written
├── DivergedError    a loss, gradient, weight or prediction of a training run is not finite
├── InfeasibleBudget every allowed model costs more than the budget
└── InfeasiblePlan   no assignment of a batch meets the budget and the capacities
"""


class P2LError(Exception):
    """Base of the errors that p2l raises on purpose; commands print it as one line and exit with status 2."""


class DataError(P2LError):
    """A vote table, a prompt column or an output file is not valid."""


class PromptError(P2LError):
    """One prompt cannot be encoded."""


class ConfigError(P2LError):
    """An option or name is unknown or does not fit the others."""


class CheckpointError(P2LError):
    """A checkpoint folder or hub repository cannot be read or written."""


class DivergedError(P2LError):
    """A loss, gradient, weight or prediction of a training run is not finite."""


class InfeasibleBudget(P2LError):  # noqa: N818
    """Every allowed model costs more than the budget; ``cheapest`` is the index of the one that costs least."""

    def __init__(self, cheapest: int, cost: float, budget: float) -> None:
        super().__init__(
            f"no model costs {budget:g} or less: the cheapest, model {cheapest}, costs {cost:g}; raise the budget"
        )
        self.cheapest = cheapest
        self.cost = cost
        self.budget = budget


class InfeasiblePlan(P2LError):  # noqa: N818
    """No assignment of a batch meets the budget and the capacities; the message names the one that fails."""
