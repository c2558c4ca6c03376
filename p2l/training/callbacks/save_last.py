"""Save the checkpoint from which an interrupted run resumes."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class SaveLast(ModelCheckpoint):
    """Lightning's callback, except that a step with validation is saved after the validation.

    Lightning saves before it, and a run that resumes there never repeats the validation, so the step could not become
    the best one. A run that is interrupted during validation resumes from the previous checkpoint.
    """

    _waits_for_validation = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        fit_loop = trainer.fit_loop
        assert fit_loop._data_fetcher is not None
        self._waits_for_validation = fit_loop.epoch_loop._should_check_val_fx(fit_loop._data_fetcher)
        if not self._waits_for_validation:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._waits_for_validation:
            self._waits_for_validation = False
            super().on_train_batch_end(trainer, pl_module, None, None, 0)
