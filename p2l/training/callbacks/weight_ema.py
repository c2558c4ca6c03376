"""An exponential moving average of the weights."""

import warnings
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_avg_fn

from p2l.errors import ConfigError
from p2l.options import check_number
from p2l.training.sharding import FSDP2Strategy


class WeightEMA(EMAWeightAveraging):
    """Lightning's callback, limited to the fit: ``trainer.validate`` and ``test`` use the averaged weights of the
    checkpoint they load. (Lightning 2.6 would swap in the last average and, after loading a checkpoint, restore
    weights that were not averaged.) Frozen weights are shared with the average: rounding cannot change them."""

    def __init__(
        self, device: str | int | None = None, use_buffers: bool = True, decay: float = 0.999, **options: Any
    ) -> None:
        check_number("callbacks.ema.decay", decay, least=0, below=1)
        super().__init__(device, use_buffers, decay, **options)
        ema = get_ema_avg_fn(decay)
        self._kwargs["avg_fn"] = lambda average, current, count: (
            average if average.data_ptr() == current.data_ptr() else ema(average, current, count)
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, (DeepSpeedStrategy, FSDPStrategy, FSDP2Strategy)):
            raise ConfigError("callbacks=ema keeps a whole copy of the weights, which a sharded strategy cannot hold")
        with warnings.catch_warnings():
            # configure_model shards only under FSDP2, which is rejected above
            warnings.filterwarnings("ignore", message=".*WeightAveraging callback with a model that overrides.*")
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        assert self._average_model is not None
        for average, current in zip(self._average_model.module.parameters(), pl_module.parameters(), strict=True):
            if not current.requires_grad and average.device == current.device:
                average.data = current.data

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
