"""Train a P2L model, or resume a run that stopped."""

from omegaconf import DictConfig

from p2l.commands.restartable_job import RestartableJob
from p2l.composition.build_run import build_run
from p2l.composition.config_objects import is_trial
from p2l.errors import ConfigError
from p2l.training import train
from p2l.training.loggers import close
from p2l.training.resume_point import checkpoint_to_resume
from p2l.training.stop_signals import sigterm_raises


def run(cfg: DictConfig) -> float | None:
    """Return the validation loss, which a sweeper may minimise; None without validation votes."""
    with sigterm_raises():
        return _run(cfg)


def _run(cfg: DictConfig) -> float | None:
    job = RestartableJob.of(cfg)
    if job.finished is not None:
        return job.finished.val_log_loss
    checkpoint_to_resume(job.resume)  # there must be one, before anything is loaded
    module, datamodule, trainer = build_run(cfg)
    if is_trial() and datamodule.votes.val is None:
        raise ConfigError("the search minimises val/log_loss, but there are no validation votes; give data.val")
    try:
        metrics = train(module, datamodule, trainer, resume=job.resume)
    finally:
        close(trainer.loggers)
    if trainer.is_global_zero:
        job.close(trainer.global_step, metrics)
    return metrics.get("val/log_loss")
