"""Write the page of a training run from the files in its folder."""

import logging
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.run_page import read_run, write_page

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunPageJob:
    """Write ``run.html`` of a run that finished, stopped or still runs, from what its folder holds.

    Attributes:
        run_folder: of the run.
        output_dir: of the page.
    """

    run_folder: str
    output_dir: str

    def run(self) -> Path:
        """Return the path of the page; DataError if the folder holds no run."""
        page = write_page(read_run(self.run_folder), Path(self.output_dir))
        log.info("page of the run: %s", page)
        return page


def run(cfg: DictConfig) -> None:
    make(cfg.job).run()
