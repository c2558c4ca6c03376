"""One training run: fit, validate and publish the best weights, test."""

import logging
import warnings
from collections.abc import Mapping, Sequence

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from p2l.data import VoteDataModule
from p2l.errors import ConfigError
from p2l.training.fit_loop import EndedFitLoop
from p2l.training.lightning_module import P2LModule
from p2l.training.marginal_verdict import ADVICE, UNVALIDATED, doubt_about, unbounded_models, warning_about
from p2l.training.resume_point import checkpoint_to_resume, describe_resume, set_aside
from p2l.training.sharding import data_parallel_size
from p2l.training.step_count import num_steps

log = logging.getLogger(__name__)


def train(
    module: P2LModule, datamodule: VoteDataModule, trainer: Trainer, *, resume: str | None = None
) -> dict[str, float]:
    """Fit ``module``, validate with the best weights (callbacks publish them), and test if there is a test set.

    ``trainer.val_check_interval`` is a share of the epoch (a float) or a number of optimizer steps. ``resume`` is a
    Lightning checkpoint, or the folder of a run with a ``last.ckpt``. Returns the final metrics by name. Raises
    DivergedError at the first loss, gradient or weight that is not finite; SIGTERM and Ctrl-C end the fit with
    RunStopped after ``callbacks.SaveLast`` has saved it.
    """
    checkpoint = checkpoint_to_resume(resume)
    _plan_steps(datamodule, trainer)
    datamodule.unbounded = unbounded_models(datamodule.votes.train, module.family)
    if trainer.is_global_zero:
        if checkpoint is None:
            set_aside(trainer.checkpoint_callbacks)
        else:
            log.info("%s", describe_resume(checkpoint, num_steps(datamodule, trainer)))
    EndedFitLoop.install(trainer)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=False)
    metrics = dict(trainer.callback_metrics)
    best = _best_checkpoint(trainer)
    if datamodule.votes.val is not None:
        trainer.validate(module, datamodule, ckpt_path=best, weights_only=False)
        metrics |= trainer.callback_metrics
    if datamodule.votes.test is not None:
        trainer.test(module, datamodule, ckpt_path=best, weights_only=False)
        metrics |= trainer.callback_metrics
    if trainer.is_global_zero:
        _say_verdict(metrics, datamodule.unbounded)
    return {name: float(value) for name, value in metrics.items()}


def _say_verdict(metrics: Mapping[str, Tensor], unbounded: Sequence[str]) -> None:
    if "val/log_loss" not in metrics:
        log.warning("%s", UNVALIDATED)
    if warning := warning_about(metrics, unbounded):
        log.warning("This model is %s. %s", warning, ADVICE)
    elif doubt := doubt_about(metrics):
        log.warning("This model is %s.", doubt)


def _plan_steps(datamodule: VoteDataModule, trainer: Trainer) -> None:
    """Set the number of micro-batches in a step, and place validation between steps."""
    _reject_cut_epochs(trainer)
    if datamodule.votes.val is None:
        if trainer.early_stopping_callbacks:
            raise ConfigError("callbacks=early_stop needs validation votes; give data.val or data.val_share")
        trainer.limit_val_batches = 0
    datamodule.epochs = _num_epochs(trainer, datamodule.steps)
    trainer.accumulate_grad_batches = datamodule.micro_batches(data_parallel_size(trainer))
    interval = trainer.val_check_interval
    if interval is not None:  # None: trainer.val_check_interval is a time
        steps = max(1, round(interval * datamodule.steps)) if isinstance(interval, float) else interval
        if steps > datamodule.steps and trainer.check_val_every_n_epoch is not None:
            raise ConfigError(
                f"trainer.val_check_interval={steps} steps, but an epoch has only {datamodule.steps}; "
                f"trainer.check_val_every_n_epoch=null counts over epochs"
            )
        trainer.val_check_interval = steps * trainer.accumulate_grad_batches


def _reject_cut_epochs(trainer: Trainer) -> None:
    """Raise ConfigError for options that end an epoch within a step: Lightning would not shorten the schedule."""
    limit = trainer.limit_train_batches
    limits = {
        "fast_dev_run": trainer.fast_dev_run,  # type: ignore[attr-defined]
        "overfit_batches": trainer.overfit_batches,  # type: ignore[attr-defined]
        "limit_train_batches": None if isinstance(limit, float) and limit == 1 else str(limit),
    }
    for option, value in limits.items():
        if value:
            raise ConfigError(
                f"trainer.{option}={value} would cut epochs within a step; limit a run by trainer.max_steps (optimizer "
                f"steps)"
            )


def _num_epochs(trainer: Trainer, steps_per_epoch: int) -> int:
    """Return the number of epochs of a run; 1 if nothing limits them."""
    by_steps = -(-trainer.max_steps // steps_per_epoch)
    by_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    return max(1, min((limit for limit in (by_steps, by_epochs) if limit > 0), default=1))


def _best_checkpoint(trainer: Trainer) -> str | None:
    """Return the checkpoint of the best validation; None, for the last weights, if no callback keeps one."""
    keepers = [keeper for keeper in trainer.checkpoint_callbacks if isinstance(keeper, ModelCheckpoint)]
    return next((keeper.best_model_path for keeper in keepers if keeper.monitor and keeper.best_model_path), None)
