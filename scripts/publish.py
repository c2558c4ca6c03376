"""Publish any checkpoint of a run: ``python scripts/publish.py run=outputs/<run> checkpoint=last.ckpt``.

For shards of FSDP2 and DeepSpeed too, on a machine without their GPUs and with memory for one file of weights.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="publish")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        make(cfg.job).run()


if __name__ == "__main__":
    register_resolvers()
    main()
