"""The stream budgets of the configurations that a process has seen."""

from functools import partial
from pathlib import Path

from p2l.routing.stream_budget import StreamBudget
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.routing_plan import RoutingPlan
from p2l.serving.router.storage.locked_files import DeferredWrites


class StreamBudgets:
    """One stream budget for each target and file, so that a reload with the same target continues it.

    ``default_path``: SQLite file if the configuration names none; None keeps the state in memory.
    """

    def __init__(self, default_path: Path | None) -> None:
        self._default_path = default_path
        self._budgets: dict[tuple[float, str | Path | None], StreamBudget] = {}
        self._writes = DeferredWrites("stream budget")

    def get(self, config: ServerConfig) -> StreamBudget | None:
        """Return the stream budget of a configuration; None without ``mean_cost``.

        Raises DataError if the file cannot be opened.
        """
        target, path = config.router.mean_cost, config.router.mean_cost_state or self._default_path
        if target is None:
            return None
        if (target, path) not in self._budgets:
            budget = StreamBudget(target, path)
            budget.fail_if_locked()
            self._budgets[target, path] = budget
        return self._budgets[target, path]

    def settle(self, plan: RoutingPlan, cost: float) -> None:
        """Replace the cost that a plan has booked by the actual cost, once the file is free."""
        if plan.stream_budget is not None and plan.spending is not None:
            self._writes.add(partial(plan.stream_budget.settle, plan.spending, cost))

    async def close(self) -> None:
        await self._writes.close()
        for budget in self._budgets.values():
            budget.close()
