"""The stream budgets of the configurations that a process has seen."""

from pathlib import Path

from p2l.routing.stream_budget import StreamBudget
from p2l.serving.router.config.server_config import ServerConfig


class StreamBudgets:
    """One stream budget for each target and file, so that a reload with the same target continues it.

    ``default_path``: SQLite file if the configuration names none; None keeps the state in memory.
    """

    def __init__(self, default_path: Path | None) -> None:
        self._default_path = default_path
        self._budgets: dict[tuple[float, str | Path | None], StreamBudget] = {}

    def get(self, config: ServerConfig) -> StreamBudget | None:
        """Return the stream budget of a configuration; None without ``mean_cost``.

        Raises DataError if the file cannot be opened.
        """
        target, path = config.router.mean_cost, config.router.mean_cost_state or self._default_path
        if target is None:
            return None
        if (target, path) not in self._budgets:
            self._budgets[target, path] = StreamBudget(target, path)
        return self._budgets[target, path]

    def close(self) -> None:
        for budget in self._budgets.values():
            budget.close()
