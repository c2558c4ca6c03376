"""How fast votes and tokens go through the training step."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from p2l.data.batches import VoteBatch


class Throughput(Callback):
    """Logs ``speed/votes_per_s``, ``speed/tokens_per_s`` (padding not counted) and ``speed/padding`` (its share),
    over all ranks, at every optimizer step that is logged."""

    def __init__(self) -> None:
        self._reset(time.perf_counter())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: VoteBatch, batch_idx: int
    ) -> None:
        self._votes += len(batch.weight)
        self._tokens += int(batch.prompts.attention_mask.sum())
        self._padded += batch.prompts.attention_mask.numel()
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not stepped or trainer.global_step % trainer.log_every_n_steps:
            return
        now = time.perf_counter()
        seconds = now - self._since
        totals = torch.tensor([self._votes, self._tokens, self._padded], dtype=torch.float32, device=pl_module.device)
        votes, tokens, padded = trainer.strategy.reduce(totals, reduce_op="sum").tolist()
        pl_module.log_dict(
            {
                "speed/votes_per_s": votes / seconds,
                "speed/tokens_per_s": tokens / seconds,
                "speed/padding": 1 - tokens / padded,
            }
        )
        self._reset(now)

    def _reset(self, now: float) -> None:
        self._since, self._votes, self._tokens, self._padded = now, 0, 0, 0
