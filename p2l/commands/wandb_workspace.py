"""Make a W&B workspace for the runs and sweeps of a project."""

import logging
from dataclasses import dataclass

from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.training.workspace_panels import build_workspace, save_workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WandbWorkspaceJob:
    """Save a workspace with sections for losses, speed, pages and sweeps.

    Attributes:
        entity: the user or team of W&B.
        project: of the runs.
        name: of the workspace.
    """

    entity: str
    project: str
    name: str

    def run(self) -> str:
        """Return the address of the workspace; ConfigError without the package, a key or the network."""
        address = save_workspace(build_workspace(self.entity, self.project, self.name))
        log.info("workspace: %s", address)
        return address


def run(cfg: DictConfig) -> None:
    make(cfg.job).run()
