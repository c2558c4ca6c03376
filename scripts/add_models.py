"""Add new LLMs to a checkpoint without training: ``python scripts/add_models.py model_path=<checkpoint> votes=<file>``.

Writes a checkpoint that ranks them too, and where they stand, with intervals.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="add_models")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        make(cfg.job).run(make(cfg.checkpoint))


if __name__ == "__main__":
    register_resolvers()
    main()
