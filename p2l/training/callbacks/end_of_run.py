"""The end of a run: after the final validation with the best weights, or after a fit without validation."""

from abc import abstractmethod

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from p2l.data import VoteDataModule
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule


class EndOfRun(Callback):
    """Calls ``finish`` once, on all ranks, when the module holds the final weights of a run.

    List these callbacks after those that change the weights at the end of the fit (``WeightEMA``).
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.finish(trainer, *run_parts(trainer, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = run_parts(trainer, pl_module)
        if data.votes.val is None:
            self.finish(trainer, module, data)

    @abstractmethod
    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None: ...
