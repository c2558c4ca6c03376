"""The number of optimizer steps of a run."""

from lightning import Trainer

from p2l.data import VoteDataModule


def num_steps(data: VoteDataModule, trainer: Trainer) -> int:
    """Return the number of optimizer steps of the run.

    ``trainer.estimated_stepping_batches`` would build the loader before a checkpoint is read. Lightning then never
    restores the position of the loader, and a resumed run would restart its epoch.
    """
    steps = data.epochs * data.steps
    return steps if trainer.max_steps < 0 else min(steps, trainer.max_steps)
