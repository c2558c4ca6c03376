"""Keeps the workers of one listening socket alive."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

import p2l
from p2l.errors import ConfigError
from p2l.serving.endpoint.endpoint_settings import BAD_OPTIONS, Settings
from p2l.serving.http.prometheus import METRICS_FOLDER_VARIABLE as MULTIPROCESS

log = logging.getLogger(__name__)

TICK = 0.1  # seconds between looks at the workers
LONG_LIFE = 10.0  # seconds; a worker that was ready for so long is started again at once
MOST_DELAY = 30.0
BACKLOG = 2048
# Read by libraries when they are loaded, so they cannot be set later.
WORKER_DEFAULTS = {
    # oneDNN keeps kernels (half a megabyte each) for the last 1024 shapes, and torch again: with prompts of all lengths
    # a shape seldom comes twice, and a worker grew by 2 MB a batch
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}


@dataclass
class _Slot:
    """The place of one worker.

    Attributes:
        process: the one that runs there.
        sign: the file that it makes when its model is loaded.
        failures: short lives in a row.
        status: with which the last one ended.
        start_at: when the next may be started.
    """

    process: "subprocess.Popen[str] | None" = None
    sign: Path | None = None
    failures: int = 0
    status: int | None = None
    start_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ready_for(self) -> float | None:
        """Seconds since its model was loaded; None before."""
        return time.time() - self.sign.stat().st_mtime if self.sign and self.sign.exists() else None


class Supervisor:
    """Starts the workers, starts again what dies, passes SIGTERM on and waits until all have finished.

    Every worker accepts from the same socket. A worker that takes the place of a dead one beside others that live takes
    connections only when its model is ready. Where no worker has ever loaded the model and each has failed to, the
    server ends; once one has, a failure may pass (memory that a killed one held), and the worker is tried again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket = listen(settings.host, settings.port)
        self._slots = [_Slot() for _ in range(settings.workers)]
        self._stopping = threading.Event()
        self._served = False
        self._numbers = count()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port, *_ = self._socket.getsockname()
        return host, port

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit status: 2 if no worker can be started with these options."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        log.info("listening on %s port %d, %d worker(s)", *self.address, len(self._slots))
        with tempfile.TemporaryDirectory(prefix="p2l-endpoint-") as folder:
            status = self._watch(folder)
            self._finish()
        return status

    def _watch(self, folder: str) -> int:
        sources = _newest_source() if self._settings.reload else 0.0
        while not self._stopping.is_set():
            for slot in self._slots:
                self._tend(slot, folder)
            if not self._served and all(slot.status == BAD_OPTIONS for slot in self._slots):
                return BAD_OPTIONS
            self._stopping.wait(TICK)
            if self._settings.reload and _newest_source() > sources:
                sources = _newest_source()
                log.info("the code has changed: starting again")
                self._stop(self._slots)
        return 0

    def _tend(self, slot: _Slot, folder: str) -> None:
        """Clear the slot of a worker that has died, and start one in an empty slot when it is time."""
        self._served = self._served or slot.ready_for is not None
        if slot.alive:
            return
        if slot.process is not None:
            self._bury(slot, folder)
        elif time.monotonic() >= slot.start_at:
            self._start(slot, folder)

    def _bury(self, slot: _Slot, folder: str) -> None:
        """Clear the slot of a dead worker and say when the next one may start."""
        process = slot.process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        mark_process_dead(process.pid, folder)
        slot.failures = 0 if (slot.ready_for or 0.0) > LONG_LIFE else slot.failures + 1
        delay = min(MOST_DELAY, 2.0 ** (slot.failures - 2)) if slot.failures > 1 else 0.0
        slot.process, slot.status, slot.start_at = None, process.returncode, time.monotonic() + delay
        log.warning("worker %d ended with status %d", process.pid, process.returncode)

    def _start(self, slot: _Slot, folder: str) -> None:
        when = "ready" if any(other.alive for other in self._slots) else "now"
        descriptor = self._socket.fileno()
        slot.sign = Path(folder) / f"ready-{next(self._numbers)}"
        slot.process = subprocess.Popen(
            [sys.executable, "-m", "p2l.serving.endpoint.worker", str(descriptor), when, str(slot.sign)],
            env={**worker_environment(self._settings, os.environ.copy()), MULTIPROCESS: folder},
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C is the supervisor's to pass on
            text=True,
        )
        assert slot.process.stdin is not None
        slot.process.stdin.write(self._settings.to_json() + "\n")
        slot.process.stdin.flush()

    def _finish(self) -> None:
        self._socket.close()
        log.info("stopping: finishing what was taken")
        self._stop(self._slots)

    def _stop(self, slots: list[_Slot]) -> None:
        running = [slot.process for slot in slots if slot.process is not None and slot.alive]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.timeout + 5
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker %d does not stop: killed", process.pid)
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket for all workers; ConfigError if the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    listening.set_inheritable(True)
    return listening


def worker_environment(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """What a worker finds in its environment: its share of the cores, and WORKER_DEFAULTS unless they are set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = re.match(r"\s*(\d+)", environment.get("OMP_NUM_THREADS", ""))  # also "4,2": of nested regions
    threads = settings.threads or (int(said[1]) if said else max(1, cores // settings.workers))
    return {**WORKER_DEFAULTS, **environment, "OMP_NUM_THREADS": str(threads)}


def _newest_source() -> float:
    return max(path.stat().st_mtime for path in Path(p2l.__path__[0]).rglob("*.py"))
