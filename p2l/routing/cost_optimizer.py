"""The names of the optimisers, without the packages that they need."""

from typing import Literal

Optimizer = Literal["strict", "simple-lp", "optimal-lp"]
"""``strict``: the best score within the budget; the linear programs hold it in expectation (``p2l.routing.Router``)."""
