"""The LightningModule: runs the model, and delegates loss, optimizer and schedule."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from p2l.data import VoteDataModule
from p2l.data.batches import VoteBatch
from p2l.data.encoding import PromptBatch
from p2l.models import P2LModel
from p2l.models.finite_weights import check_weights
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.training.finite_steps import check_step, check_weights_after
from p2l.training.saved_progress import rescale_progress
from p2l.training.sharding import FSDP2Strategy, data_parallel_size, shard
from p2l.training.step_count import num_steps
from p2l.types import Ranking


@runtime_checkable
class Objective(Protocol):
    """The training objective; see ``p2l.losses``."""

    def view_of(self, family: OutcomeFamily) -> OutcomeFamily: ...

    def __call__(self, log_probs: Tensor, targets: Tensor, weight: Tensor) -> Tensor: ...


@runtime_checkable
class OptimizerRecipe(Protocol):
    """Builds the optimizer of a model; see ``p2l.training.optimizers``."""

    def build(self, model: P2LModel) -> Optimizer: ...


@runtime_checkable
class SchedulerRecipe(Protocol):
    """Builds the learning rate schedule of an optimizer; see ``p2l.training.schedules``."""

    def build(self, optimizer: Optimizer, num_steps: int) -> LRScheduler: ...


class P2LModule(LightningModule):
    """Trains a P2LModel on votes.

    ``train/loss`` is the mean loss of the votes of the optimizer step, in nats. Validation and test steps return
    ``prompt_index`` and ``ranking`` of prompts; ``p2l.training.callbacks.EvaluateVotes`` computes metrics from them.

    Args:
        model: the model to train.
        objective: the loss to minimise.
        optimizer, scheduler: recipes; without a scheduler the rates are constant.
        seed: seed of dropout. The noise of a micro-batch depends only on the seed, the step and the data-parallel
            share, so that an interrupted and resumed run draws the same noise.
    """

    model: P2LModel
    _step_loss: Tensor
    _loss_so_far: Tensor

    def __init__(
        self,
        model: P2LModel,
        objective: Objective,
        optimizer: OptimizerRecipe,
        scheduler: SchedulerRecipe | None = None,
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.family: OutcomeFamily = objective.view_of(model.head.family)
        self.seed = seed
        self._optimizer, self._scheduler = optimizer, scheduler
        self._sharded = False
        self.register_buffer("_step_loss", torch.zeros(()), persistent=False)

    def configure_model(self) -> None:
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDP2Strategy) and not self._sharded:
            assert self.device_mesh is not None
            shard(self.model, self.device_mesh, strategy.policy)
            self._sharded = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        weights = checkpoint.get("state_dict", {})  # a folder of shards is checked when training starts
        check_weights(str(self.trainer.ckpt_path), ((k, v) for k, v in weights.items() if isinstance(v, Tensor)))
        if self.trainer.training:
            rescale_progress(self.trainer.accumulate_grad_batches, checkpoint["loops"]["fit_loop"])

    def on_train_start(self) -> None:
        check_weights_after(self.trainer, self.model, f"at step {self.trainer.global_step}, where training starts")

    def on_train_batch_start(self, batch: VoteBatch, batch_idx: int) -> None:
        part = batch_idx % self.trainer.accumulate_grad_batches
        share = self.global_rank * data_parallel_size(self.trainer) // self.trainer.world_size
        place = np.random.SeedSequence((self.seed, self.global_step, part, share))
        torch.manual_seed(int(place.generate_state(1)[0]))

    def training_step(self, batch: VoteBatch, batch_idx: int) -> Float[Tensor, ""]:
        ranking = self._rank(batch.prompts)
        log_probs = battle_log_probs(self.family, ranking, batch.battle)
        targets = batch.outcome_shares.to(log_probs.dtype) @ self.family.target_matrix(log_probs)
        loss = self.objective(log_probs, targets, batch.weight).sum() * batch.scale
        self._log_step_loss(loss.detach(), batch_idx)
        if self.trainer.strategy.handles_gradient_accumulation:
            # Lightning and DeepSpeed both divide the loss by the accumulated micro-batches: undo one division
            return loss * self.trainer.accumulate_grad_batches
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        check_step(self.trainer, self.model, self._loss_so_far)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        super().optimizer_step(*arguments, **options)
        check_weights_after(self.trainer, self.model, f"after step {self.trainer.global_step + 1}")

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        return {
            "prompt_index": batch.prompt_index,
            "ranking": self._rank(batch),
        }

    def test_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        return self.validation_step(batch, batch_idx)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._optimizer.build(self.model)
        if self._scheduler is None:
            return {"optimizer": optimizer}
        schedule = self._scheduler.build(optimizer, self.num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def num_steps(self) -> int:
        """Number of optimizer steps of the run."""
        data = getattr(self.trainer, "datamodule", None)
        assert isinstance(data, VoteDataModule)
        return num_steps(data, self.trainer)

    def _rank(self, prompts: PromptBatch) -> Ranking:
        if prompts.states is not None:
            return self.model.head(prompts.states)
        return self.model(prompts.input_ids, prompts.attention_mask)

    def _log_step_loss(self, loss: Tensor, batch_idx: int) -> None:
        parts = self.trainer.accumulate_grad_batches
        self._step_loss += loss / parts
        self._loss_so_far = self._step_loss.clone()
        if (batch_idx + 1) % parts == 0:
            self.log("train/loss", self._loss_so_far, prog_bar=True, sync_dist=True)
            self._step_loss.zero_()
