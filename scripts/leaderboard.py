"""Fit leaderboards to votes, with intervals: ``python scripts/leaderboard.py votes=<file or hub dataset> family=bt``.

Needs no prompts. Writes a table and a picture for each category, and all numbers as one JSON.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="leaderboard")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        make(cfg.job).run()


if __name__ == "__main__":
    register_resolvers()
    main()
