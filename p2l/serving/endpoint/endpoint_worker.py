"""One worker process of the endpoint: loads the model and serves the shared socket.

The supervisor starts it as ``python -m p2l.serving.endpoint.endpoint_worker``; ``WorkerLink`` says with what.
"""

import logging
import os
import threading

import torch
import uvicorn

from p2l.errors import P2LError
from p2l.serving.endpoint.build_endpoint import choose_device, load_predictor, make_app, make_service, request_limits
from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.endpoint.error_handlers import detail_error
from p2l.serving.http.json_logs import log_as_json
from p2l.serving.http.supervisor import BAD_OPTIONS
from p2l.serving.http.uvicorn_config import uvicorn_config
from p2l.serving.http.worker_process import WorkerLink, run_server, stop_with_supervisor

log = logging.getLogger(__name__)

DEVICE_LOST = 3  # exit status


class Worker:
    """A server on a socket, whose model is loaded by a thread.

    If the link says to wait, it accepts connections once the model is loaded; else at once, and answers 503 until then.
    """

    def __init__(self, settings: Settings, link: WorkerLink) -> None:
        self._settings, self._link = settings, link
        self._device = choose_device(settings.cuda)
        self._service = make_service(settings, self._device)
        self._service.device_lost = self._end_without_device
        self._server = uvicorn.Server(self._configuration())
        self._status = 0

    def run(self) -> int:
        """Serve until SIGTERM or ``stop``; returns the exit status."""
        loading = threading.Thread(target=self._load, name="p2l-load", daemon=True)
        loading.start()
        if self._link.waits:
            loading.join()
        if not self._status:
            run_server(self._server, self._link.listening)
        self._service.close()
        return self._status

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._server.should_exit = True

    def _configuration(self) -> uvicorn.Config:
        app = make_app(self._settings, self._service)
        seconds = int(self._settings.timeout) + 1
        return uvicorn_config(app, request_limits(self._settings), detail_error, shutdown_seconds=seconds)

    def _end_without_device(self) -> None:
        if not self._status:
            log.error("the accelerator has failed: this worker ends, and the supervisor starts another")
            self._status = DEVICE_LOST
            self.stop()

    def _load(self) -> None:
        try:
            self._service.start(load_predictor(self._settings, self._device))
            self._link.ready_file.touch()
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
    link = WorkerLink.of_this_process()
    worker = Worker(Settings.from_json(link.settings), link)
    stop_with_supervisor(worker.stop)
    status = worker.run()
    logging.shutdown()
    os._exit(status)  # at once: threads of libraries, or one that still loads, would delay the exit


if __name__ == "__main__":
    main()
