"""Measure routing: ``python scripts/route_eval.py model_path=<checkpoint> scores=<file> known_scores=<file>``.

Writes the cost-quality curve of every policy as JSON, CSV and a picture.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="route_eval")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        job = make(cfg.job)
        job.run(make(cfg.checkpoint))


if __name__ == "__main__":
    register_resolvers()
    main()
