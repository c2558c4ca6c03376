"""Look at the leaderboards of prompts in the browser: ``python scripts/explore.py model_path=<checkpoint>``.

``prices=<list>`` (a file of conf/prices) adds what a budget buys; ``host=`` and ``port=`` say where the page is.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="explore")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        job = make(cfg.job)
        job.run(make(cfg.checkpoint))


if __name__ == "__main__":
    register_resolvers()
    main()
