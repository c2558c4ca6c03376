"""Base of callbacks that evaluate the rankings of validation and test prompts, gathered from all ranks."""

from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer

from p2l.data import VoteDataModule
from p2l.data.vote_table import VoteTable
from p2l.training.callbacks.rank_in_training import RankedPart, assemble, check_finite, to_cpu
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking


class RankingCallback(Callback):
    """Calls ``evaluate`` after each validation and test epoch, on all ranks, with the votes and their rankings."""

    def __init__(self) -> None:
        self._parts: list[RankedPart] = []

    @abstractmethod
    def evaluate(
        self, split: str, trainer: Trainer, module: P2LModule, data: VoteDataModule, votes: VoteTable, rankings: Ranking
    ) -> None:
        """Evaluate the rankings of ``votes.prompts`` (float32 on the CPU); ``split`` is "val" or "test".

        If the trainer limits the batches, ``votes`` are those whose prompts were run.
        """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts = []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._parts.append(to_cpu(outputs))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._evaluate("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluate("test", trainer, pl_module)

    def _evaluate(self, split: str, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = run_parts(trainer, pl_module)
        votes, rankings = _gather(data.table(split), self._parts)
        check_finite(rankings, f"{split} at step {trainer.global_step}")
        self.evaluate(split, trainer, module, data, votes, rankings)


def _gather(votes: VoteTable, parts: list[RankedPart]) -> tuple[VoteTable, Ranking]:
    if dist.is_available() and dist.is_initialized():
        shares: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(shares, parts)
        parts = [part for share in shares for part in share]
    rankings = assemble(parts, len(votes.prompts))
    was_run = np.zeros(len(votes.prompts), dtype=bool)
    was_run[torch.cat([index for index, _ in parts]).numpy()] = True
    if was_run.all():
        return votes, rankings
    rows = np.flatnonzero(was_run[votes.prompt_index])
    kept = torch.from_numpy(pd.unique(votes.prompt_index[rows]))
    return votes.select(rows), rankings.map(lambda x: x[kept])
