"""Train a P2L model, or resume a run that stopped."""

from omegaconf import DictConfig

from p2l.commands.restartable_job import RestartableJob
from p2l.composition.build_run import build_run
from p2l.training import train
from p2l.training.loggers import close


def run(cfg: DictConfig) -> float | None:
    """Return the validation loss, which a sweeper may minimise; None without validation votes."""
    job = RestartableJob.of(cfg)
    if job.result is not None:
        return job.result.val_log_loss
    module, datamodule, trainer = build_run(cfg)
    try:
        metrics = train(module, datamodule, trainer, resume=job.resume)
    finally:
        close(trainer.loggers)
    job.close()
    return metrics.get("val/log_loss")
