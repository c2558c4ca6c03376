"""Keep the worker processes of one listening socket alive."""

import logging
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

import p2l
from p2l.errors import ConfigError
from p2l.serving.http.prometheus import METRICS_FOLDER_VARIABLE

log = logging.getLogger(__name__)

BAD_OPTIONS = 2  # exit status of a worker that cannot serve with its options, and then of the server
TICK = 0.1  # seconds between two checks of the workers
LONG_LIFE = 10.0  # seconds; a worker that was ready for longer is replaced without a delay
MAX_DELAY = 30.0  # seconds between two starts of a worker that keeps failing
BACKLOG = 2048


@dataclass(frozen=True)
class WorkerProgram:
    """How a worker is started; ``worker_process.WorkerLink`` is the other end.

    Attributes:
        command: program and arguments. The supervisor appends the descriptor of the socket, ``now`` or ``ready`` (when
            to accept connections), and the path of the file that the worker creates when it is ready.
        settings: one line for the worker's standard input, which stays open as long as the supervisor lives.
        environment: of the worker; the supervisor adds the folder of the metrics unless it names one.
    """

    command: tuple[str, ...]
    settings: str
    environment: Mapping[str, str]


@dataclass
class _Slot:
    """The place of one worker.

    Attributes:
        process: the process in this place; None if the place is empty.
        ready_file: the file that the process creates when it is ready.
        failures: short lives in a row.
        status: exit status of the last process.
        start_at: earliest time of the next start.
    """

    process: "subprocess.Popen[str] | None" = None
    ready_file: Path | None = None
    failures: int = 0
    status: int | None = None
    start_at: float = 0.0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def seconds_ready(self) -> float | None:
        """Seconds since the process became ready; None before."""
        return time.time() - self.ready_file.stat().st_mtime if self.ready_file and self.ready_file.exists() else None


class Supervisor:
    """Starts the workers, replaces those that die, and stops all of them on SIGTERM or SIGINT.

    All workers accept connections from the same socket. A worker that replaces a dead one beside live ones accepts
    connections only once it is ready. If no worker was ever ready and each has failed with BAD_OPTIONS, the server ends
    with that status. Later failures may pass (a killed process held memory), so the worker is started again with a
    growing delay.

    uvicorn's own supervisor lacks four things that the servers need: a delay between restarts, a worker that waits
    until its model is loaded, SIGHUP passed on, and workers that end when the supervisor is killed.

    Args:
        listening: the socket; see ``listen``.
        program: starts a worker.
        workers: number of processes.
        stop_seconds: how long a stopping worker may finish its responses before it is killed; None: no limit. A second
            signal kills at once.
        reload: restart the workers when the code of p2l changes.
        passes_hangup: pass SIGHUP on to the workers that are ready.
    """

    def __init__(
        self,
        listening: socket.socket,
        program: WorkerProgram,
        *,
        workers: int = 1,
        stop_seconds: float | None = None,
        reload: bool = False,
        passes_hangup: bool = False,
    ) -> None:
        self._socket, self._program = listening, program
        self._stop_seconds, self._reload, self._passes_hangup = stop_seconds, reload, passes_hangup
        self._slots = [_Slot() for _ in range(workers)]
        self._stopping, self._hangup = threading.Event(), threading.Event()
        self._signals = 0
        self._was_ready = False
        self._numbers = count()

    def run(self) -> int:
        """Serve until a signal stops the server; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._count_signal)
        if self._passes_hangup:
            signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        host, port, *_ = self._socket.getsockname()
        log.info("listening on %s port %d, %d worker(s)", host, port, len(self._slots))
        with tempfile.TemporaryDirectory(prefix="p2l-workers-") as folder:
            status = self._watch(Path(folder))
            self._socket.close()
            log.info("stopping: the workers finish their responses")
            self._stop_workers()
        return status

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._stopping.set()

    def _count_signal(self, *_: object) -> None:
        self._signals += 1
        self._stopping.set()

    def _watch(self, folder: Path) -> int:
        sources = _newest_source() if self._reload else 0.0
        while not self._stopping.is_set():
            for slot in self._slots:
                self._tend(slot, folder)
            if not self._was_ready and all(slot.status == BAD_OPTIONS for slot in self._slots):
                return BAD_OPTIONS
            self._stopping.wait(TICK)
            if self._hangup.is_set():
                self._hangup.clear()
                self._pass_hangup()
            if self._reload and _newest_source() > sources:
                sources = _newest_source()
                log.info("the code has changed: the workers are restarted")
                self._stop_workers()
        return 0

    def _tend(self, slot: _Slot, folder: Path) -> None:
        """Clear the slot of a dead worker; start a worker in an empty slot when its delay is over."""
        self._was_ready = self._was_ready or slot.seconds_ready is not None
        if slot.is_alive:
            return
        if slot.process is not None:
            self._clear(slot, slot.process, folder)
        elif time.monotonic() >= slot.start_at:
            self._start(slot, folder)

    def _clear(self, slot: _Slot, process: "subprocess.Popen[str]", folder: Path) -> None:
        """Empty the slot and set the delay of the next start."""
        _close_input(process)
        mark_process_dead(process.pid, self._metrics_folder(folder))
        slot.failures = 0 if (slot.seconds_ready or 0.0) > LONG_LIFE else slot.failures + 1
        delay = min(MAX_DELAY, 2.0 ** (slot.failures - 2)) if slot.failures > 1 else 0.0
        slot.process, slot.status, slot.start_at = None, process.returncode, time.monotonic() + delay
        log.warning("worker %d ended with status %d", process.pid, process.returncode)

    def _start(self, slot: _Slot, folder: Path) -> None:
        accepts = "ready" if any(other.is_alive for other in self._slots) else "now"
        descriptor = self._socket.fileno()
        slot.ready_file = folder / f"ready-{next(self._numbers)}"
        slot.process = subprocess.Popen(
            [*self._program.command, str(descriptor), accepts, str(slot.ready_file)],
            env={**self._program.environment, METRICS_FOLDER_VARIABLE: self._metrics_folder(folder)},
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the workers
            text=True,
        )
        assert slot.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already; its exit status says why
            try:
                slot.process.stdin.write(self._program.settings + "\n")
                slot.process.stdin.flush()
            except BrokenPipeError:
                slot.process.stdin.close()  # what it did not take would raise again, out of reach

    def _metrics_folder(self, folder: Path) -> str:
        return self._program.environment.get(METRICS_FOLDER_VARIABLE, str(folder))

    def _pass_hangup(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.is_alive and slot.seconds_ready is not None:
                slot.process.send_signal(signal.SIGHUP)

    def _stop_workers(self) -> None:
        """Let the workers finish their responses. One that is not ready has none, and would hold the socket open."""
        alive = [(slot.process, slot.seconds_ready) for slot in self._slots if slot.process and slot.is_alive]
        running = [process for process, _ in alive]
        for process, seconds_ready in alive:
            process.send_signal(signal.SIGTERM if seconds_ready is not None else signal.SIGKILL)
        deadline = None if self._stop_seconds is None else time.monotonic() + self._stop_seconds
        while any(process.poll() is None for process in running):
            if self._signals > 1 or (deadline is not None and time.monotonic() > deadline):
                break
            time.sleep(TICK / 2)
        for process in running:
            if process.poll() is None:
                log.warning("worker %d does not stop: killed", process.pid)
                process.kill()
            process.wait()
            _close_input(process)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for all workers; ConfigError if the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    listening.set_inheritable(True)
    return listening


def _close_input(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _newest_source() -> float:
    return max(path.stat().st_mtime for path in Path(p2l.__path__[0]).rglob("*.py"))
