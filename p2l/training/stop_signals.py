"""Signals that end a run after its current step: SIGTERM of a scheduler, SIGINT of Ctrl-C."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class RunStopped(SystemExit):
    """A signal ended a run; the exit status is 128 + its number, as shells report it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class StopSignals:
    """Records the first SIGTERM or SIGINT; the second one ends the process at once, with RunStopped.

    A SIGTERM handler that a job scheduler's library has installed stays.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def install(self, scheduler: Any = None) -> None:
        """Take over the signals, in the main thread only; ``scheduler`` is the SIGTERM handler that stays, if any."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        for number in SIGNALS[1:] if scheduler is not None else SIGNALS:
            self._before[number] = signal.signal(number, self._record) or signal.SIG_DFL

    def remove(self) -> None:
        """Give the signals back to the handlers that were there before."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise RunStopped(number)
        self.received = signal.Signals(number)
        log.warning("%s: the run ends after this step or its validation; a second one ends it at once", self.name)

    @property
    def name(self) -> str:
        return "a signal on another rank" if self.received is None else self.received.name


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise RunStopped, so that files are closed and temporary ones removed; in the main thread only."""
    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or not is_default:
        yield
        return
    signal.signal(signal.SIGTERM, stop_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM while no step is running: before the fit, and after the last checkpoint is saved."""
    log.warning("%s: ended; no training step was running", signal.Signals(number).name)
    raise RunStopped(number)


def of_a_scheduler(handler: Any) -> Any:
    """Return a SIGTERM handler if it is a job scheduler's; None for the default and for ``stop_at_once``."""
    return None if handler in (None, signal.SIG_DFL, signal.SIG_IGN, stop_at_once) else handler
