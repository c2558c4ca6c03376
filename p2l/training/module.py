"""The LightningModule: it runs the model and hands the rest to what it was given."""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from p2l.data.batches import VoteBatch
from p2l.data.encoding import PromptBatch
from p2l.models import P2LModel
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battles import battle_log_probs
from p2l.training.sharding import FSDP2Strategy, shard
from p2l.types import Ranking


class Objective(Protocol):
    """What is minimised: see ``p2l.losses``."""

    def view_of(self, family: OutcomeFamily) -> OutcomeFamily: ...

    def __call__(self, log_probs: Tensor, targets: Tensor, weight: Tensor) -> Tensor: ...


class OptimizerRecipe(Protocol):
    """Makes the optimizer of a model: see ``p2l.training.optimizers``."""

    def build(self, model: P2LModel) -> Optimizer: ...


class SchedulerRecipe(Protocol):
    """Makes the learning rate schedule of an optimizer: see ``p2l.training.schedules``."""

    def build(self, optimizer: Optimizer, num_steps: int) -> LRScheduler: ...


class P2LModule(LightningModule):
    """Trains a P2LModel on votes.

    ``train/loss`` is the mean loss of the votes of the optimizer step, in nats. Validation and test steps return the
    rankings of prompts; ``p2l.training.callbacks.EvaluateVotes`` turns them into metrics.
    """

    def __init__(
        self,
        model: P2LModel,
        objective: Objective,
        optimizer: OptimizerRecipe,
        scheduler: SchedulerRecipe | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.family = objective.view_of(model.head.family)
        self._optimizer, self._scheduler = optimizer, scheduler
        self._sharded = False
        self.register_buffer("_step_loss", torch.zeros(()), persistent=False)

    def configure_model(self) -> None:
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDP2Strategy) and not self._sharded:
            shard(self.model, self.device_mesh, strategy.policy)
            self._sharded = True

    def training_step(self, batch: VoteBatch, batch_idx: int) -> Float[Tensor, ""]:
        ranking = self.model(batch.prompts.input_ids, batch.prompts.attention_mask)
        log_probs = battle_log_probs(self.family, ranking, batch.battle)
        targets = batch.kinds.to(log_probs.dtype) @ self.family.target_matrix(log_probs)
        loss = self.objective(log_probs, targets, batch.weight).sum() * batch.scale
        self._log_step_loss(loss.detach(), batch_idx)
        return loss

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> tuple[Tensor, Ranking]:
        return batch.prompt_index, self.model(batch.input_ids, batch.attention_mask)

    def test_step(self, batch: PromptBatch, batch_idx: int) -> tuple[Tensor, Ranking]:
        return self.validation_step(batch, batch_idx)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self._optimizer.build(self.model)
        if self._scheduler is None:
            return {"optimizer": optimizer}
        schedule = self._scheduler.build(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log_step_loss(self, loss: Tensor, batch_idx: int) -> None:
        parts = self.trainer.accumulate_grad_batches
        self._step_loss += loss / parts
        if (batch_idx + 1) % parts == 0:
            self.log("train/loss", self._step_loss.clone(), prog_bar=True, sync_dist=True)
            self._step_loss.zero_()
