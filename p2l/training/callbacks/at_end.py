"""When a run is over: after the final validation with the best weights, or after the fit where nothing is validated."""

from abc import abstractmethod

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn


class AtEnd(Callback):
    """Calls ``finish`` once, on all ranks, when the module holds the weights that a run leaves behind."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.finish(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.datamodule.votes.val is None:
            self.finish(trainer, pl_module)

    @abstractmethod
    def finish(self, trainer: Trainer, pl_module: LightningModule) -> None: ...
