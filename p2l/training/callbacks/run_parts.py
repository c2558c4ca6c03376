"""The module and data of a run, which Lightning passes to hooks under wider types."""

from lightning import LightningModule, Trainer

from p2l.data import VoteDataModule
from p2l.training.lightning_module import P2LModule


def run_parts(trainer: Trainer, pl_module: LightningModule) -> tuple[P2LModule, VoteDataModule]:
    """Return the module and the data of a run with their types; raises TypeError for other classes."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(pl_module, P2LModule) or not isinstance(data, VoteDataModule):
        raise TypeError(f"expected a P2LModule and a VoteDataModule; got {type(pl_module)} and {type(data)}")
    return pl_module, data


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a micro-batch is the last of its optimizer step; all steps have as many."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0
