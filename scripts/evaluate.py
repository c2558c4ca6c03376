"""Evaluate rankings of prompts: ``python scripts/evaluate.py eval_path=<file> model_list_path=<json> loss_type=grk``.

The rankings may also be made now: ``model_path=<checkpoint> votes=<vote table>``. Writes one JSON, with pictures.
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        options = {name: value for name, value in cfg.items() if name not in ("suite", "category")}
        make(cfg.suite).run(OmegaConf.to_container(OmegaConf.create(options), resolve=True))


if __name__ == "__main__":
    register_resolvers()
    main()
