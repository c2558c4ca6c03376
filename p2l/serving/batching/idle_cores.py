"""The number of threads of a batch, by the cores that other processes leave idle.

The threads that compute one batch wait for each other many times, and spin meanwhile. If another process takes one of
their cores, each wait lasts until the scheduler runs the suspended thread: a prompt then takes ten times as long on two
threads as on one. So a batch gets as many threads as there are idle cores.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psutil

_INTERVAL = 0.2  # seconds between two readings; the kernel counts hundredths
_SLACK = 0.25  # of a core may be used by others without cost
_USED = ("user", "nice", "system", "steal")


def share_of(cores: int, lanes: int) -> int:
    """Return the number of threads of a batch that runs beside others."""
    return max(1, cores // lanes)


def threads_for(cores: int, side_by_side: int, idle: int, choices: Sequence[int] = ()) -> int:
    """Return the threads of one of the batches that run side by side: as many as cores are idle, at least one.

    ``choices``: the possible numbers, if not all are: a compiled program holds for one.
    """
    most = max(1, min(cores, idle) // side_by_side)
    return max((number for number in choices if number <= most), default=1) if choices else most


class Usage(NamedTuple):
    """CPU seconds of all processes on the cores that this one may use, its own, and the number of the cores."""

    everybody: float
    own: float
    cores: int


def read_usage() -> Usage:
    """Read the CPU times of the system and of this process."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(psutil.cpu_count() or 1)
    times = psutil.cpu_times(percpu=True)
    used = sum(getattr(times[core], kind, 0.0) for core in cores for kind in _USED)
    return Usage(used, time.process_time(), len(cores))


class IdleCores:
    """Counts the cores on which this process does not wait for others."""

    def __init__(self, read: Callable[[], Usage] = read_usage, clock: Callable[[], float] = time.perf_counter) -> None:
        self._read, self._clock = read, clock
        self._last, self._time = read(), clock()
        self._used_by_others = 0.0
        self._lock = threading.Lock()

    def count(self) -> int:
        """Return the cores that nobody else uses, at least 1, as of the last fifth of a second or longer."""
        with self._lock:
            if (passed := self._clock() - self._time) >= _INTERVAL:
                last, self._last = self._last, self._read()
                self._time += passed
                spent = (self._last.everybody - last.everybody) - (self._last.own - last.own)
                self._used_by_others = spent / passed
            return max(1, int(self._last.cores - self._used_by_others + _SLACK))
