"""One worker process: loads the model, serves the shared socket.

The supervisor starts it as ``python -m p2l.serving.endpoint.worker <socket> <now|ready> <file>`` and writes the
settings as one line of JSON to its standard input. End of input means that the supervisor has died: the worker
then stops as it does for SIGTERM. It creates the file when its model is loaded.
"""

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import torch
import uvicorn

from p2l.errors import P2LError
from p2l.serving.endpoint.assembly import choose_device, load_predictor, make_app, make_service, request_limits
from p2l.serving.endpoint.endpoint_settings import BAD_OPTIONS, Settings
from p2l.serving.endpoint.error_handlers import detail_error
from p2l.serving.http.json_logs import log_as_json
from p2l.serving.http.uvicorn_config import uvicorn_config

log = logging.getLogger(__name__)

DEVICE_LOST = 3  # exit status


class Worker:
    """A server on a socket, whose model is loaded by a thread.

    With ``wait`` it takes connections once the model is ready; else at once, and says 503 until then. ``sign`` is the
    file to make then.
    """

    def __init__(self, settings: Settings, listening: socket.socket, *, wait: bool, sign: Path) -> None:
        self._settings, self._socket, self._wait, self._sign = settings, listening, wait, sign
        self._device = choose_device(settings.cuda)
        self._service = make_service(settings, self._device)
        self._service.device_lost = self._end_without_device
        self._server = uvicorn.Server(self._configuration())
        self._status = 0

    def run(self) -> int:
        """Serve until told to stop; returns the exit status."""
        loading = threading.Thread(target=self._load, name="p2l-load", daemon=True)
        loading.start()
        if self._wait:
            loading.join()
        if not self._status:
            # uvicorn raises the signal again when it is done; what it was asked to finish is finished then
            signal.signal(signal.SIGTERM, lambda *_: None)
            self._server.run(sockets=[self._socket])
        self._service.close()
        return self._status

    def stop(self) -> None:
        """As SIGTERM does."""
        self._server.should_exit = True

    def _configuration(self) -> uvicorn.Config:
        app = make_app(self._settings, self._service)
        seconds = int(self._settings.timeout) + 1
        return uvicorn_config(app, request_limits(self._settings), detail_error, shutdown_seconds=seconds)

    def _end_without_device(self) -> None:
        if not self._status:
            log.error("the accelerator has failed: this worker ends, and another takes its place")
            self._status = DEVICE_LOST
            self.stop()

    def _load(self) -> None:
        try:
            self._service.start(load_predictor(self._settings, self._device))
            self._sign.touch()
            log.info("ready: %s on %s", self._settings.model_path, self._device)
        except Exception as error:
            if isinstance(error, (P2LError, torch.OutOfMemoryError)):
                log.error("%s", error)
            else:
                log.error("the model could not be loaded: %s: %s", type(error).__name__, error)
            self._status = BAD_OPTIONS
            self.stop()


def main() -> None:
    log_as_json()
    settings = Settings.from_json(sys.stdin.readline())
    descriptor, when, sign = sys.argv[1:]
    worker = Worker(settings, socket.socket(fileno=int(descriptor)), wait=when == "ready", sign=Path(sign))

    def stop_with_supervisor() -> None:
        sys.stdin.read()
        worker.stop()

    threading.Thread(target=stop_with_supervisor, name="p2l-parent", daemon=True).start()
    status = worker.run()
    logging.shutdown()
    os._exit(status)  # at once: threads of libraries, or one that still loads, would hold up the exit


if __name__ == "__main__":
    main()
