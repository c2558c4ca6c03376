"""Run the command line of the router: check, export votes, or serve."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from p2l.errors import ConfigError, P2LError
from p2l.extras import check_modules
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.http.loopback import is_loopback
from p2l.serving.http.supervisor import BAD_OPTIONS, Supervisor, WorkerProgram, listen
from p2l.serving.router.command_line import STATE_VARIABLE, options_of, parser, refuse_open_server
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.config_warnings import log_warnings
from p2l.serving.router.router_logs import event, set_up_logs
from p2l.serving.router.storage.feedback_store import SCHEMA, FeedbackStore
from p2l.serving.router.storage.open_database import is_url, make_database
from p2l.serving.router.storage.shared_state import open_shared_state

_SERVING_MODULES = ("aiohttp", "fastapi", "prometheus_client", "uvicorn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the options, then do what they ask for; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    set_up_logs(args.log_level)
    try:
        if args.export_votes is not None:
            return _export(args)
        if args.check_config:
            return _check(args)
        check_modules(_SERVING_MODULES, "the router", "serve")
        options = options_of(args)
        snapshot = Snapshot.load(options)
        _check_places(options, snapshot)
        refuse_open_server(args, snapshot)
        _warn(args, snapshot)
        return _serve(args, arguments)
    except P2LError as error:
        event(str(error), level=logging.ERROR)
        return BAD_OPTIONS


def _serve(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve in this process, or in workers that share state through a file and metrics through a folder."""
    if args.workers == 1 and not args.reload:
        from p2l.serving.router.router_worker import serve

        return serve(args, listen(args.host, args.port))
    with tempfile.TemporaryDirectory(prefix="p2l-router-") as folder:
        state = {STATE_VARIABLE: str(Path(folder) / "state.sqlite")}
        command = (sys.executable, "-m", "p2l.serving.router.router_worker")
        program = WorkerProgram(command, json.dumps(list(arguments)), {**state, **os.environ})
        listening = listen(args.host, args.port)
        return Supervisor(
            listening, program, workers=args.workers, reload=args.reload, passes_hangup=hasattr(signal, "SIGHUP")
        ).run()


def _check_places(options: RouterOptions, snapshot: Snapshot) -> None:
    """Raise P2LError if the model is missing, or state, feedback or the stream budget cannot be stored."""
    if options.router_model_path is not None:
        from p2l.serving.router.selection.model_scorer import check_checkpoint

        check_checkpoint(options.router_model_path)
    if snapshot.config.predicted or snapshot.config.router.risk is not None:
        from p2l.serving.router.selection.model_check import check_model  # the checks of files need no client

        asyncio.run(check_model(options, snapshot.config))
    open_shared_state(options.state).close()
    if options.feedback is not None:
        asyncio.run(_check_store(options.feedback))
    router = snapshot.config.router
    if router.mean_cost is not None:
        StreamBudget(router.mean_cost, router.mean_cost_state or options.state).close()


async def _check_store(place: str) -> None:
    store = make_database(place)
    if not is_url(place):  # a database may come up later
        await store.open(SCHEMA)
    await store.close()


def _check(args: argparse.Namespace) -> int:
    snapshot = Snapshot.of(load_config(args.config), args.api_key, args.cost_optimizer)
    log_warnings(snapshot.config)
    event(
        "the configuration is valid", {"models": len(snapshot.config.model_configs), "keys": len(snapshot.config.keys)}
    )
    return 0


def _export(args: argparse.Namespace) -> int:
    place = args.feedback
    if place is None or not (is_url(place) or Path(place).is_file()):
        raise ConfigError("--export-votes needs --feedback, the file or database of a router that stored votes")
    try:
        written, without = asyncio.run(_exported(place, args.export_votes.absolute()))  # "." has no name
    except OSError as error:
        raise ConfigError(
            f"--export-votes: {args.export_votes} cannot be written ({error.strerror}); give a path in a "
            f"writable folder"
        ) from None
    event("votes were written", {"path": str(args.export_votes), "votes": written, "without_prompt": without})
    return 0


async def _exported(place: str, path: Path) -> tuple[int, int]:
    feedback = FeedbackStore(make_database(place))
    await feedback.start()
    try:
        return await feedback.export(path)
    finally:
        await feedback.close()


def _warn(args: argparse.Namespace, snapshot: Snapshot) -> None:
    """Warn about options that are allowed but rarely meant."""
    config = snapshot.config
    if snapshot.is_open and not is_loopback(args.host):
        message = "anybody can use this router: --api-key is the published default"
        event(message, {"host": args.host}, level=logging.WARNING)
    log_warnings(config)
    if args.state is None and any(key.budget is not None for key in config.keys):
        event("budgets are reset when the server restarts; --state keeps them", level=logging.WARNING)
    if args.cost_optimizer == "optimal-lp" and args.router_type in ("grk-endpoint", "bag-endpoint"):
        event("optimal-lp was published for Bradley-Terry; here it counts ties as half a win", level=logging.WARNING)
