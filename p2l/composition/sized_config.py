"""Replace the values ``auto`` of a training configuration by those that fit the size of the run."""

import logging

from omegaconf import DictConfig, OmegaConf

from p2l.models import P2LModel
from p2l.training.size_rules import recipe_for

log = logging.getLogger(__name__)

AUTO = "auto"
UNLIMITED = -1


def with_sizes(cfg: DictConfig, votes: int, model: P2LModel, paired_prompts: int | None = None) -> DictConfig:
    """Return the configuration without ``auto``, and log what was chosen; values that are given stay.

    ``paired_prompts`` is that of ``recipe_for``.
    """
    given = cfg.batching.batch_size
    parameters = sum(p.numel() for p in model.model.parameters())
    chosen = recipe_for(votes, parameters, None if given == AUTO else given, paired_prompts)
    values = {
        "batching.batch_size": chosen.batch_size,
        "optimizer.lr": chosen.lr,
        "optimizer.head_lr": chosen.head_lr,
        "trainer.max_epochs": UNLIMITED if cfg.trainer.max_steps > 0 else chosen.max_epochs,
    }
    left_open = {name: value for name, value in values.items() if OmegaConf.select(cfg, name) == AUTO}
    if not left_open:
        return cfg
    sized = cfg.copy()
    for name, value in left_open.items():
        OmegaConf.update(sized, name, value)
    shown = " ".join(f"{name}={value}" for name, value in left_open.items())
    log.info("chosen for %s votes and a backbone of %.1fM parameters: %s", f"{votes:,}", parameters / 1e6, shown)
    return sized
