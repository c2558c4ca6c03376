"""The errors p2l raises on purpose, each with a message that says what was expected, what came and what to do.

P2LError
├── DataError        a vote table, a prompt column or an output file is not what it should be
├── PromptError      one prompt cannot be encoded
├── ConfigError      options that do not fit together
├── CheckpointError  a checkpoint folder or hub repository cannot be read or written
├── InfeasibleBudget no model that may be chosen is as cheap as the budget
└── InfeasiblePlan   no assignment of a batch keeps the budget and the capacities
"""


class P2LError(Exception):
    """Base of every error p2l raises on purpose; scripts print it as one line and exit with status 2."""


class DataError(P2LError):
    """A vote table, a prompt column or an output file is not what it should be."""


class PromptError(P2LError):
    """One prompt cannot be encoded."""


class ConfigError(P2LError):
    """Options that do not fit together."""


class CheckpointError(P2LError):
    """A checkpoint folder or hub repository cannot be read or written."""


class InfeasibleBudget(P2LError):  # noqa: N818
    """No model that may be chosen is as cheap as the budget; ``cheapest`` is the index of the nearest."""

    def __init__(self, cheapest: int, cost: float, budget: float) -> None:
        super().__init__(
            f"no model costs {budget:g} or less: the cheapest, model {cheapest}, costs {cost:g}; raise the budget"
        )
        self.cheapest = cheapest
        self.cost = cost
        self.budget = budget


class InfeasiblePlan(P2LError):  # noqa: N818
    """No assignment of a batch keeps the budget and the capacities; the message says which cannot be met."""
