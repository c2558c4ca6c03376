"""A fit loop that always calls the hooks of the end of a fit."""

from lightning import Trainer
from lightning.pytorch.loops import _FitLoop


class EndedFitLoop(_FitLoop):
    """Lightning's loop over epochs, except that a fit without remaining steps still starts and ends.

    Lightning skips the loop if a run resumes at its last step (``trainer.max_steps``), and with it ``on_train_end``.
    That hook applies averaged weights and, in runs without validation, publishes the checkpoint.
    """

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Replace the loop of a trainer that has not fitted yet."""
        if isinstance(trainer.fit_loop, cls):
            return
        loop = cls(trainer, trainer.min_epochs, trainer.max_epochs)
        loop.epoch_loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop = loop

    @property
    def skip(self) -> bool:
        return False
