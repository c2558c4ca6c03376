"""End a fit when a validation metric no longer improves; a run that it ended trains no more when it resumes."""

import logging
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from p2l.options import check_count, check_number

log = logging.getLogger(__name__)


class StopEarly(EarlyStopping):
    """Lightning's callback, except for a resumed run: its ``patience`` is the one given now, and a run whose patience
    was used up ends at its start. (Lightning restores the old patience, and trains on to the next validation.)

    Args:
        monitor, min_delta, mode: of the metric, as in Lightning.
        patience: number of validations without improvement after which the fit ends.
    """

    def __init__(self, monitor: str, min_delta: float = 0.0, patience: int = 3, mode: str = "min") -> None:
        check_count("callbacks.early_stop.patience", patience)
        check_number("callbacks.early_stop.min_delta", min_delta, least=0)
        super().__init__(monitor, min_delta, patience, mode=mode, check_on_train_epoch_end=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count < self.patience:
            return
        trainer.should_stop = True
        if trainer.is_global_zero:
            log.info(
                "finished at step %d by early stopping: %s has not improved in the last %d validations; "
                "callbacks.early_stop.patience=%d continues",
                trainer.global_step,
                self.monitor,
                self.wait_count,
                self.wait_count + 1,
            )
