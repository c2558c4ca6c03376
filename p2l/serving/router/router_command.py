"""The command line of the router."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from p2l.errors import ConfigError, P2LError
from p2l.routing.scores import Optimizer
from p2l.routing.stream_budget import StreamBudget
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import DEFAULT_KEY, RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_logs import event, set_up_logs
from p2l.serving.router.selection.prompt_scorer import check_checkpoint
from p2l.serving.router.storage.databases import is_url, make_database
from p2l.serving.router.storage.feedback_store import SCHEMA, FeedbackStore
from p2l.serving.router.storage.shared_state import open_shared_state

ROUTER_TYPES = ("random", "bt-endpoint", "grk-endpoint", "bag-endpoint")
STATE_VARIABLE = "P2L_ROUTER_STATE"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def parser() -> argparse.ArgumentParser:
    """The published options, then ours."""
    p = argparse.ArgumentParser(
        prog="python -m p2l.routing.openai_server",
        description="Serve an OpenAI-compatible router that picks the best model within a budget.",
    )
    p.add_argument("--config", "-c", type=Path, required=True, help="path to the configuration file (YAML)")
    p.add_argument("--router-type", choices=ROUTER_TYPES, help="where scores come from; not with --router-model-path")
    p.add_argument("--router-model-name", help="name of the router model, for the logs")
    p.add_argument("--router-model-endpoint", help="URL of a P2L endpoint (python -m p2l.endpoint)")
    p.add_argument("--router-api-key", default="-", help="API key of that endpoint (default: %(default)s)")
    p.add_argument(
        "--cost-optimizer", choices=get_args(Optimizer), default="simple-lp", help="how a budget is met (%(default)s)"
    )
    p.add_argument("--port", "-p", type=int, default=8000, help="(default: %(default)s)")
    p.add_argument("--host", default="0.0.0.0", help="(default: %(default)s)")
    p.add_argument("--api-key", default=DEFAULT_KEY, help="key that clients send as Bearer (default: %(default)s)")
    p.add_argument(
        "--reload",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="restart when the code changes (%(default)s)",
    )
    p.add_argument("--workers", type=int, default=1, help="processes that serve (default: %(default)s)")
    _add_ours(p)
    return p


def _add_ours(p: argparse.ArgumentParser) -> None:
    p.add_argument("--router-model-path", help="score in this process by this P2L checkpoint (folder or hub id)")
    p.add_argument("--check-config", action="store_true", help="check the configuration and exit")
    p.add_argument("--state", type=Path, help="SQLite file of spending, rates and sessions, kept across restarts")
    p.add_argument(
        "--feedback",
        help="where decisions and votes are kept: a SQLite file, or postgresql://user@host/database with the password "
        "in PGPASSWORD; turns /v1/feedback on",
    )
    p.add_argument("--store-prompts", action="store_true", help="keep the user turns of decisions in --feedback")
    p.add_argument("--export-votes", type=Path, help="write the votes of --feedback as JSON lines and exit")
    p.add_argument("--max-body", type=int, default=32 << 20, help="most bytes of a request (default: %(default)s)")
    p.add_argument(
        "--ignore-model-field",
        action="store_true",
        help="route also where a request's model is a configured name, as published (default: that model answers)",
    )
    p.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(%(default)s)")


def options_of(args: argparse.Namespace) -> RouterOptions:
    """The options of parsed arguments; ``ConfigError`` where they do not fit together."""
    if (args.router_type is None) == (args.router_model_path is None):
        raise ConfigError("give one of --router-type and --router-model-path")
    if args.router_type not in (None, "random") and not args.router_model_endpoint:
        raise ConfigError(f"--router-type {args.router_type} needs --router-model-endpoint")
    if args.store_prompts and args.feedback is None:
        raise ConfigError("--store-prompts needs --feedback, the file to store them in")
    state = args.state or (Path(os.environ[STATE_VARIABLE]) if STATE_VARIABLE in os.environ else None)
    return RouterOptions(
        config=args.config,
        router_type=args.router_type or "model",
        router_model_name=args.router_model_name,
        router_model_endpoint=args.router_model_endpoint,
        router_model_path=args.router_model_path,
        router_api_key=args.router_api_key,
        cost_optimizer=args.cost_optimizer,
        api_key=args.api_key,
        state=state,
        feedback=args.feedback,
        store_prompts=args.store_prompts,
        max_body=args.max_body,
        ignore_model=args.ignore_model_field,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, then serve; the exit status."""
    args = parser().parse_args(arguments)
    set_up_logs(args.log_level)
    try:
        if args.export_votes is not None:
            return _export(args)
        if args.check_config:
            return _check(args)
        options = options_of(args)
        snapshot = Snapshot.load(options)
        _check_places(options, snapshot)
        _warn(args, snapshot)
    except P2LError as error:
        event(str(error), level=logging.ERROR)
        return 2
    if args.workers > 1 or args.reload:
        return _serve_several(args)
    _run(_make(options), args)
    return 0


def _check_places(options: RouterOptions, snapshot: Snapshot) -> None:
    """Raise where there is no such model, or no place for state, feedback or the stream, while somebody reads it."""
    if options.router_model_path is not None:
        check_checkpoint(options.router_model_path)
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


def app() -> Starlette:
    """The application in a worker, which finds the command line where the first process found it."""
    args = parser().parse_args()
    set_up_logs(args.log_level)
    return _make(options_of(args))


def _make(options: RouterOptions) -> Starlette:
    from p2l.serving.router.router_app import make_app

    snapshot = Snapshot.load(options)
    made = make_app(RouterContainer(options, snapshot))
    scores = options.router_model_name or options.router_model_path or options.router_model_endpoint
    event("starting", {"router": options.router_type, "scores": scores, "models": len(snapshot.config.model_configs)})
    gc.collect()
    gc.freeze()  # the libraries' million objects are not looked through again, which holds all requests up
    return made


def _serve_several(args: argparse.Namespace) -> int:
    """Workers in processes of their own; they share state through a file, and metrics through a folder."""
    with tempfile.TemporaryDirectory(prefix="p2l-router-") as folder:
        os.environ.setdefault(STATE_VARIABLE, str(Path(folder) / "state.sqlite"))
        if args.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            (Path(folder) / "metrics").mkdir()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(folder) / "metrics")
        Multiprocess.handle_hup = _reload_workers  # type: ignore[assignment]  # uvicorn would start workers anew
        _run("p2l.serving.router.router_command:app", args)
    return 0


def _reload_workers(supervisor: Multiprocess) -> None:
    """Pass SIGHUP on: each worker checks the configuration and goes on with it."""
    for worker in supervisor.processes:
        if worker.pid is not None:
            os.kill(worker.pid, signal.SIGHUP)


def _run(target: "str | Starlette", args: argparse.Namespace) -> None:
    from p2l.serving.http.bounded_protocol import BoundedProtocol
    from p2l.serving.http.request_limits import RequestLimits
    from p2l.serving.router.api.openai_error import openai_error

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it anew once all is answered
    uvicorn.run(
        target,
        factory=isinstance(target, str),
        host=args.host,
        port=args.port,
        reload=args.reload,
        workers=args.workers if isinstance(target, str) else None,
        http=BoundedProtocol.with_limits(RequestLimits(body_bytes=args.max_body), openai_error),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_worker_healthcheck=120,  # a worker answers once its imports are done
    )


def _check(args: argparse.Namespace) -> int:
    snapshot = Snapshot.of(load_config(args.config), args.api_key, args.cost_optimizer)
    for name in snapshot.config.placeholders():
        event("the key is still the placeholder of the example", {"model": name}, level=logging.WARNING)
    event(
        "the configuration is sound", {"models": len(snapshot.config.model_configs), "keys": len(snapshot.config.keys)}
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
            f"--export-votes: {args.export_votes} cannot be written ({error.strerror}): a path in a folder that can be "
            f"written to is needed"
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
    """Say what is allowed but hardly meant."""
    config = snapshot.config
    if args.api_key == DEFAULT_KEY and not config.keys and args.host not in _LOOPBACK:
        event(
            "anybody can use this router: --api-key has its published default",
            {"host": args.host},
            level=logging.WARNING,
        )
    for name in config.placeholders():
        event("the key is still the placeholder of the example", {"model": name}, level=logging.WARNING)
    if args.state is None and any(key.budget is not None for key in config.keys):
        event("budgets start anew with the server: --state keeps them", level=logging.WARNING)
    if args.cost_optimizer == "optimal-lp" and args.router_type in ("grk-endpoint", "bag-endpoint"):
        event("optimal-lp was published for Bradley-Terry; here it counts ties as half a win", level=logging.WARNING)
