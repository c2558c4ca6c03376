"""Record a run as a point of a scaling law: its size, votes, cost and loss."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from torch import nn

from p2l.data import VoteDataModule
from p2l.models import P2LModel
from p2l.scaling.points import RESULT_FILE, ScalingPoint
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule


class RecordPoint(EndOfRun):
    """Writes ``result.json`` (``p2l.scaling.ScalingPoint``) to ``folder`` when validation and test are over.

    A resumed run counts the seconds of all its parts, up to the checkpoints that it resumed from.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / RESULT_FILE
        self._seconds, self._since = 0.0, time.perf_counter()
        self._steps = 0
        self._metrics: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seconds, self._steps = self._so_far(), trainer.global_step
        super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._so_far()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seconds = state_dict["seconds"]

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        self._keep(trainer)
        if data.votes.test is None:
            self._write(trainer, module, data)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)
        self._write(trainer, *run_parts(trainer, pl_module))

    def _so_far(self) -> float:
        return self._seconds + time.perf_counter() - self._since

    def _keep(self, trainer: Trainer) -> None:
        self._metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    def _write(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if not trainer.is_global_zero:
            return
        votes = data.table("train")
        parameters, tokens = num_parameters_without_embeddings(module.model), tokens_fed(data, self._steps)
        ScalingPoint(
            parameters=parameters,
            parameters_with_embeddings=module.model.num_parameters,
            votes=len(votes),
            prompts=len(votes.prompts),
            steps=self._steps,
            tokens=tokens,
            flops=6.0 * parameters * tokens,
            seconds=self._seconds,
            **self._losses("val"),
            **self._losses("test"),
        ).write(self.path)

    def _losses(self, split: str) -> dict[str, float | None]:
        loss = self._metrics.get(f"{split}/log_loss")
        marginal = None if loss is None else loss - self._metrics[f"{split}/log_loss_minus_marginal"]
        return {f"{split}_log_loss": loss, f"{split}_marginal": marginal}


def num_parameters_without_embeddings(model: P2LModel) -> int:
    """Return the parameters of backbone and head, without embeddings of tokens, positions and segments."""
    tables = {id(p): p for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    return model.num_parameters - sum(table.numel() for table in tables.values())


def tokens_fed(data: VoteDataModule, steps: int) -> int:
    """Return the tokens, without padding, of the first ``steps`` optimizer steps; a prompt counts once a step."""
    votes, lengths, total = data.table("train"), data.prompts("train").lengths, 0
    for epoch in range(-(-steps // data.steps)):
        prompts = votes.prompt_index[data.plan.order(votes, epoch)]
        step = np.arange(len(prompts)) // data.plan.batch_size
        fed = np.unique(np.stack([step, prompts])[:, step < steps - epoch * data.steps], axis=1)
        total += int(lengths[fed[1]].sum())
    return total
