"""Replace the values ``auto`` of a training configuration by those that fit the size of the run."""

import logging

from omegaconf import DictConfig, OmegaConf

from p2l.data.vote_table import VoteTable
from p2l.models import P2LModel
from p2l.training.size_rules import recipe_for, validation_interval

log = logging.getLogger(__name__)

AUTO = "auto"
UNLIMITED = -1


def with_sizes(cfg: DictConfig, votes: VoteTable, model: P2LModel, are_pairs: bool = False) -> DictConfig:
    """Return the configuration without ``auto``, and log what was chosen; values that are given stay.

    ``are_pairs``: the votes are the pairs of scored LLMs on each prompt.
    """
    given, prompts = cfg.batching.batch_size, len(votes.prompts)
    parameters = sum(p.numel() for p in model.model.parameters())
    chosen = recipe_for(
        len(votes),
        parameters,
        None if given == AUTO else given,
        paired_prompts=prompts if are_pairs else None,
        # adapters, or a head with the rate of the backbone, have to be trained
        prompts=None if cfg.model.lora or cfg.optimizer.head_lr is None else prompts,
    )
    limited = cfg.trainer.max_steps > 0
    values = {
        "batching.batch_size": chosen.batch_size,
        "optimizer.lr": chosen.lr,
        "optimizer.head_lr": chosen.head_lr,
        "trainer.max_epochs": UNLIMITED if limited else chosen.max_epochs,
    }
    sized = cfg.copy()
    left_open = {name: value for name, value in values.items() if OmegaConf.select(cfg, name) == AUTO}
    for name, value in left_open.items():
        OmegaConf.update(sized, name, value)
    if cfg.trainer.val_check_interval == AUTO:
        epoch = -(-len(votes) // chosen.batch_size)
        steps = cfg.trainer.max_steps if limited else epoch * sized.trainer.max_epochs
        left_open["trainer.val_check_interval"] = validation_interval(steps, epoch, sized.optimizer.lr)
        OmegaConf.update(sized, "trainer.val_check_interval", left_open["trainer.val_check_interval"])
    if left_open:
        shown = " ".join(f"{name}={value}" for name, value in left_open.items())
        size = f"{len(votes):,} votes on {prompts:,} prompts and a backbone of {parameters / 1e6:.1f}M parameters"
        log.info("chosen for %s: %s", size, shown)
    return sized
