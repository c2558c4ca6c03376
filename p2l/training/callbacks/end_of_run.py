"""The end of a run: after the final validation with the best weights, or after a fit without validation."""

from abc import abstractmethod

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from p2l.data import VoteDataModule
from p2l.errors import DivergedError
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.lightning_module import P2LModule
from p2l.training.marginal_verdict import absurd_loss


class EndOfRun(Callback):
    """Calls ``finish`` once, on all ranks, when the module holds the final weights of a run; not if it diverged.

    List these callbacks after those that change the weights at the end of the fit (``WeightEMA``).
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._finish(trainer, *run_parts(trainer, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = run_parts(trainer, pl_module)
        if data.votes.val is None:
            self._finish(trainer, module, data)

    def _finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if reason := absurd_loss(trainer.callback_metrics, len(module.family.outcomes)):
            raise DivergedError(reason)
        self.finish(trainer, module, data)

    @abstractmethod
    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None: ...
