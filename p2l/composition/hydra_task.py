"""A command as the task function of Hydra, which its launchers may send to other processes."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from omegaconf import DictConfig

from p2l.composition.config_objects import register_resolvers
from p2l.composition.one_line_errors import errors_in_one_line, quiet_closed_pipes, quiet_libraries
from p2l.waiting_policy import set_waiting_policy


class HydraTask:
    """Call ``p2l.commands.<command>.run(cfg)``; the module, and with it torch, is imported by the call.

    ``arguments`` become ``sys.argv`` again while the command runs, so that Lightning can start the same command for
    the other ranks of a run.
    """

    def __init__(self, command: str, arguments: Sequence[str] | None = None) -> None:
        self.command = command
        self.arguments = arguments
        self.__module__ = f"p2l.commands.{command}"  # Hydra names the job and its log file by it

    def __call__(self, cfg: DictConfig) -> Any:
        if self.arguments is not None:
            sys.argv = list(self.arguments)
        set_waiting_policy(os.environ)
        quiet_closed_pipes()
        with errors_in_one_line():
            run: Callable[[DictConfig], Any] = import_module(f"p2l.commands.{self.command}").run
            quiet_libraries()
            return run(cfg)

    def __reduce__(self) -> tuple[Any, ...]:
        return hydra_task, (self.command, self.arguments)


def hydra_task(command: str, arguments: Sequence[str] | None = None) -> HydraTask:
    """Make the task of a command in this process, whose configurations then resolve."""
    register_resolvers()
    return HydraTask(command, arguments)
