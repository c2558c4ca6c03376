"""One training run: fit, validate and publish the best weights, test."""

from pathlib import Path

from lightning import Trainer

from p2l.data import VoteDataModule
from p2l.errors import ConfigError
from p2l.training.module import P2LModule


def train(
    module: P2LModule, datamodule: VoteDataModule, trainer: Trainer, *, resume: str | None = None
) -> dict[str, float]:
    """Fit ``module``; then validate with the best weights (callbacks publish them) and test where there is a test set.

    Args:
        resume: a Lightning checkpoint, or the folder of a run, whose ``last.ckpt`` is taken.

    Returns:
        The final metrics, by name.
    """
    trainer.accumulate_grad_batches = datamodule.micro_batches(trainer.world_size)
    trainer.fit(module, datamodule, ckpt_path=_checkpoint_to_resume(resume), weights_only=False)
    metrics = dict(trainer.callback_metrics)
    best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
    if datamodule.votes.val is not None:
        trainer.validate(module, datamodule, ckpt_path=best, weights_only=False)
        metrics |= trainer.callback_metrics
    if datamodule.votes.test is not None:
        trainer.test(module, datamodule, ckpt_path=best, weights_only=False)
        metrics |= trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items()}


def _checkpoint_to_resume(resume: str | None) -> str | None:
    if resume is None:
        return None
    path = Path(resume)
    if path.is_dir() and (path / "checkpoints" / "last.ckpt").exists():
        path = path / "checkpoints" / "last.ckpt"
    elif path.is_dir() and not (path / ".metadata").exists():
        raise ConfigError(f"nothing to resume in {path}: expected checkpoints/last.ckpt in the folder of a run")
    if not path.exists():
        raise ConfigError(f"resume={resume}: no such checkpoint or run folder")
    return str(path)
