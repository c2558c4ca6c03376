"""Save the checkpoint from which an interrupted run resumes."""

import logging
import signal
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment

from p2l.options import check_count
from p2l.training.callbacks.run_parts import run_parts
from p2l.training.finite_steps import any_rank
from p2l.training.stop_signals import RunStopped, StopSignals, of_a_scheduler

log = logging.getLogger(__name__)


class SaveLast(ModelCheckpoint):
    """Lightning's callback, which also saves the last step of a fit, and the current one on SIGTERM or Ctrl-C.

    A step with validation is saved after the validation. Lightning saves before it, and a run that resumes there never
    repeats the validation, so the step could not become the best one. A signal ends the fit with RunStopped, on all
    ranks after the same step.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if (steps := options.get("every_n_train_steps")) is not None:
            check_count("callbacks.last.every_n_train_steps", steps, least=0)
        super().__init__(*arguments, **options)
        self._waits_for_validation = self._stops = False
        self._signals = StopSignals()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        before = trainer._signal_connector._original_handlers.get(signal.SIGTERM)
        self._signals.install(of_a_scheduler(before))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._stops:
            self._stop(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        fit_loop = trainer.fit_loop
        assert fit_loop._data_fetcher is not None
        if fit_loop.epoch_loop._should_accumulate():
            return
        self._waits_for_validation = fit_loop.epoch_loop._should_check_val_fx(fit_loop._data_fetcher)
        if not self._waits_for_validation:
            self._end_step(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._waits_for_validation:
            self._waits_for_validation = False
            self._end_step(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self._stops:
            self._stop(trainer, pl_module)
        self._signals.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        self._signals.remove()

    def _end_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, _ = run_parts(trainer, pl_module)
        super().on_train_batch_end(trainer, pl_module, None, None, 0)
        stops = any_rank(trainer, self._signals.received is not None or trainer.received_sigterm)
        ends = trainer.global_step >= module.num_steps or (trainer.should_stop and trainer.fit_loop._can_stop_early)
        if (stops or ends) and not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
        self._stops = stops

    def _stop(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the fit where the loggers have the metrics of the step that was saved."""
        module, _ = run_parts(trainer, pl_module)
        if trainer.is_global_zero:
            log.warning(
                "%s: stopped after step %d of %d; resume=%s continues from %s",
                self._signals.name,
                trainer.global_step,
                module.num_steps,
                Path(self.dirpath or ".").parent,
                self._last_checkpoint_saved,
            )
        launched = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
        if trainer.local_rank and launched:
            raise SystemExit(0)  # Lightning would kill its main process if a process that it launched failed
        raise RunStopped(self._signals.received or signal.SIGTERM)
