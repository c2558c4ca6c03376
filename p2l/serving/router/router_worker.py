"""One serving process of the router: the only one, or a worker of several.

The supervisor starts a worker as ``python -m p2l.serving.router.router_worker``; ``WorkerLink`` says with what.
"""

import argparse
import gc
import json
import logging
import socket
import sys
from pathlib import Path

import uvicorn

from p2l.errors import P2LError
from p2l.serving.http.request_limits import RequestLimits
from p2l.serving.http.supervisor import BAD_OPTIONS
from p2l.serving.http.uvicorn_config import uvicorn_config
from p2l.serving.http.worker_process import WorkerLink, run_server, stop_with_supervisor
from p2l.serving.router.api.openai_error import openai_error
from p2l.serving.router.command_line import options_of, parser, refuse_open_server
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_app import make_app
from p2l.serving.router.router_logs import event, set_up_logs


class RouterServer(uvicorn.Server):
    """Creates a file when it accepts connections, which tells the supervisor that this worker is ready."""

    def __init__(self, config: uvicorn.Config, ready_file: Path | None = None) -> None:
        super().__init__(config)
        self._ready_file = ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready_file is not None:
            self._ready_file.touch()

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self.should_exit = True


def make_server(args: argparse.Namespace, ready_file: Path | None = None) -> RouterServer:
    """Return the server of parsed arguments; P2LError if it cannot serve with them."""
    options = options_of(args)
    snapshot = Snapshot.load(options)
    refuse_open_server(args, snapshot)
    limits = RequestLimits(body_bytes=options.max_body)
    app = make_app(RouterContainer(options, snapshot), limits)
    scores = options.router_model_name or options.router_model_path or options.router_model_endpoint
    event("starting", {"router": options.router_type, "scores": scores, "models": len(snapshot.config.model_configs)})
    return RouterServer(uvicorn_config(app, limits, openai_error), ready_file)


def serve(args: argparse.Namespace, listening: socket.socket) -> int:
    """Serve in this process until a signal stops it; returns the exit status."""
    server = make_server(args)
    _freeze()
    return run_server(server, listening)


def _freeze() -> None:
    """Keep the libraries' million objects out of later garbage collections, each of which delays all requests."""
    gc.collect()
    gc.freeze()


def main() -> int:
    """Serve as a worker; returns the exit status."""
    link = WorkerLink.of_this_process()
    args = parser().parse_args(json.loads(link.settings))
    set_up_logs(args.log_level)
    try:
        server = make_server(args, link.ready_file)
    except P2LError as error:
        event(str(error), level=logging.ERROR)
        return BAD_OPTIONS
    stop_with_supervisor(server.stop)
    _freeze()
    return run_server(server, link.listening)


if __name__ == "__main__":
    sys.exit(main())
