"""Progress of training as lines of the log, for output that is not a terminal."""

import logging
import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from p2l.options import check_number
from p2l.training.callbacks.run_parts import ends_step, run_parts

log = logging.getLogger(__name__)


class ProgressLines(Callback):
    """Logs step, loss, votes per second and time left, at most once in ``seconds``.

    Args:
        seconds: least time between two lines; the first comes after the first step.
        on_terminal: also log if the output is a terminal, where a progress bar shows the same.
    """

    def __init__(self, seconds: float = 30.0, on_terminal: bool = False) -> None:
        check_number("callbacks.lines.seconds", seconds, above=0)
        self.seconds, self.shown = seconds, on_terminal or not sys.stdout.isatty()
        self._since = self._last = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since, self._last, self._first_step = time.monotonic(), 0.0, trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, done = time.monotonic(), trainer.global_step - self._first_step
        due = done > 0 and (not self._last or now - self._last >= self.seconds)
        if not (due and self.shown and trainer.is_global_zero) or not ends_step(trainer, batch_idx):
            return
        self._last = now
        module, data = run_parts(trainer, pl_module)
        a_step = (now - self._since) / done
        loss = trainer.logged_metrics.get("train/loss", trainer.callback_metrics.get("train/loss"))
        log.info(
            "step %d of %d, loss %s, %.3g votes/s, %s left",
            trainer.global_step,
            module.num_steps,
            "?" if loss is None else f"{float(loss):.4f}",
            data.plan.batch_size / a_step,
            duration((module.num_steps - trainer.global_step) * a_step),
        )


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``3 h 20 min``, ``2 min 5 s``, ``8 s``."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"
