"""Fit a scaling law to a sweep: ``python scripts/scaling_law.py results=<folder of the sweep, or CSV table>``.

Says how the loss falls with model size and number of votes, how well that is known, and predicts runs not made.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="scaling_law")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        make(cfg.job).run()


if __name__ == "__main__":
    register_resolvers()
    main()
