"""Fit the posterior of the head, when it is trained: intervals for every prompt."""

import json
import logging
from pathlib import Path

import torch
from jaxtyping import Float64
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from numpy import ndarray

from p2l.data import VoteDataModule, VoteTable
from p2l.data.encoding import encode_prompts
from p2l.errors import ConfigError
from p2l.files import write_whole
from p2l.heads.posterior_head import PosteriorHead
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import hidden_in_training
from p2l.training.lightning_module import P2LModule
from p2l.training.sharding import FSDP2Strategy
from p2l.uncertainty.calibrate_posterior import checked_posterior, on_other_prompts

log = logging.getLogger(__name__)


class FitPosterior(EndOfRun):
    """Gives the head its posterior for the final weights, as ``p2l posterior`` does, and writes ``posterior.json``.

    The training votes tell the posterior, and the validation votes on other prompts set its width; they have chosen the
    weights, too, which makes it a little narrow. List it before ``PublishCheckpoint``, which stores it. Does nothing
    unless it is ``enabled``. Raises ConfigError at the start if the weights are sharded.
    """

    def __init__(self, folder: str, enabled: bool = False) -> None:
        self.folder, self.enabled = Path(folder), enabled

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.enabled and isinstance(trainer.strategy, (DeepSpeedStrategy, FSDPStrategy, FSDP2Strategy)):
            raise ConfigError(
                f"intervals=true reads the whole head, which {type(trainer.strategy).__name__} shards; give "
                "intervals=false, and run p2l posterior on the checkpoint"
            )

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if not self.enabled:
            return

        def part_of(votes: VoteTable) -> tuple[VoteTable, Float64[ndarray, "prompts hidden"]]:
            encoded = encode_prompts(data.encoder, votes.prompts, progress=False)
            return votes, hidden_in_training(trainer, module, encoded, data.eval_token_budget).double().numpy()

        votes, head = data.table("train"), module.model.head
        held_out = None if data.votes.val is None else on_other_prompts(data.votes.val, votes)
        if held_out is None:
            log.warning("intervals: there are no validation votes on other prompts, so that none has checked them")
        parts = (part_of(votes), None if held_out is None else part_of(held_out))
        with torch.inference_mode(False), torch.enable_grad():  # validation in Lightning is inference
            posterior = checked_posterior(head, *parts)
            head.posterior_head = PosteriorHead(posterior).to(next(head.parameters()).device)
        if trainer.is_global_zero:
            with write_whole(self.folder / "posterior.json") as file:
                json.dump(posterior.report, file, indent=1)
