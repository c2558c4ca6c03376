"""The worker's end of a supervisor: what it is handed, and how it serves."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE


@dataclass(frozen=True)
class WorkerLink:
    """What a supervisor hands to a worker.

    Attributes:
        settings: the line that describes the server.
        listening: the socket that all workers accept connections from.
        waits: whether to accept connections only once the worker is ready; else at once.
        ready_file: the file to create when the worker is ready.
    """

    settings: str
    listening: socket.socket
    waits: bool
    ready_file: Path

    @classmethod
    def of_this_process(cls) -> "WorkerLink":
        """Read standard input and the last three arguments, as ``WorkerProgram`` describes them."""
        descriptor, accepts, ready_file = sys.argv[-3:]
        listening = socket.socket(fileno=int(descriptor))
        return cls(sys.stdin.readline(), listening, waits=accepts == "ready", ready_file=Path(ready_file))


def stop_with_supervisor(stop: Callable[[], None]) -> None:
    """Call ``stop`` when the supervisor has died: then standard input ends."""

    def wait() -> None:
        sys.stdin.read()
        stop()

    threading.Thread(target=wait, name="p2l-supervisor", daemon=True).start()


def run_server(server: uvicorn.Server, listening: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, 3 if the startup of the app failed."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    # uvicorn raises the signal again after the shutdown
    handlers = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    return 0 if server.started else STARTUP_FAILURE
