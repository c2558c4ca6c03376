"""Log votes and tokens per second of training."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from p2l.data.batches import VoteBatch
from p2l.training.callbacks.run_parts import ends_step, run_parts
from p2l.training.sharding import data_parallel_size


class Throughput(Callback):
    """Logs ``speed/votes_per_s``, ``speed/tokens_per_s`` (without padding) and ``speed/padding`` (share of padding),
    over all ranks, every ``log_every_n_steps`` optimizer steps. Time includes validation."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: VoteBatch, batch_idx: int
    ) -> None:
        mask = batch.prompts.attention_mask
        # kept on the device: reading a sum here would make every micro-batch wait for the GPU
        tokens = mask.sum()
        run = tokens if run_parts(trainer, pl_module)[0].model.packed else mask.new_tensor(mask.numel())
        self._counts += torch.stack((mask.new_tensor(len(batch.weight)), tokens, run))
        if not ends_step(trainer, batch_idx) or trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        mean = trainer.strategy.reduce(self._counts.double(), reduce_op="mean")
        assert isinstance(mean, torch.Tensor)
        # not the sum over ranks: the ranks of a tensor-parallel group count the same votes
        votes, tokens, padded = (mean * data_parallel_size(trainer)).tolist()
        seconds = time.perf_counter() - self._since
        pl_module.log_dict(
            {
                "speed/votes_per_s": votes / seconds,
                "speed/tokens_per_s": tokens / seconds,
                "speed/padding": 1 - tokens / padded,
            }
        )
        self._reset(pl_module)

    def _reset(self, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()
        self._counts = torch.zeros(3, dtype=torch.long, device=pl_module.device)
