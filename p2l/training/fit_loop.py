"""A fit that always has an end."""

from lightning import Trainer
from lightning.pytorch.loops import _FitLoop


class EndedFitLoop(_FitLoop):
    """Lightning's loop over epochs, but a fit that has no step left to do starts and ends as any other.

    Lightning leaves it out whole where a run goes on from its last step (``trainer.max_steps``), and with it
    ``on_train_end``, at which averaged weights are taken and, where nothing is validated, the checkpoint is published.
    """

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Take the place of the loop of a trainer that has fitted nothing yet."""
        if isinstance(trainer.fit_loop, cls):
            return
        loop = cls(trainer, trainer.min_epochs, trainer.max_epochs)
        loop.epoch_loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop = loop

    @property
    def skip(self) -> bool:
        return False
