"""Evaluate rankings of prompts with the published suite of metrics."""

from omegaconf import DictConfig, OmegaConf

from p2l.composition.config_objects import make


def run(cfg: DictConfig) -> None:
    options = {name: value for name, value in cfg.items() if name not in ("suite", "category")}
    make(cfg.suite).run(OmegaConf.to_container(OmegaConf.create(options), resolve=True))
