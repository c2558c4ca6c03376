"""Evaluate rankings of prompts with the published suite of metrics."""

from omegaconf import DictConfig, OmegaConf

from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.evaluation.score_table import score_table


def run(cfg: DictConfig) -> None:
    options = {name: value for name, value in cfg.items() if name not in ("suite", "category")}
    for results in make(cfg.suite).run(OmegaConf.to_container(OmegaConf.create(options), resolve=True)):
        table_console().print(score_table(results["models"]))
