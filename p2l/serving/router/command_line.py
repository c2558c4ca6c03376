"""The command line of ``p2l router``."""

import argparse
import math
import os
from pathlib import Path
from typing import get_args

from p2l.errors import ConfigError
from p2l.routing.cost_optimizer import Optimizer
from p2l.serving.http.loopback import is_loopback
from p2l.serving.router.config.router_options import DEFAULT_KEY, RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.config.value_checks import check_is_file
from p2l.types import Backend

ROUTER_TYPES = ("random", "bt-endpoint", "grk-endpoint", "bag-endpoint")
STATE_VARIABLE = "P2L_ROUTER_STATE"


def parser() -> argparse.ArgumentParser:
    """Return the parser: the published options, then those of this project."""
    p = argparse.ArgumentParser(
        prog="p2l router",
        description="Serve an OpenAI-compatible router that picks the best model within a budget.",
    )
    p.add_argument("--config", "-c", type=Path, required=True, help="path to the configuration file (YAML)")
    p.add_argument("--router-type", choices=ROUTER_TYPES, help="where scores come from; not with --router-model-path")
    p.add_argument("--router-model-name", help="name of the router model, for the logs")
    p.add_argument("--router-model-endpoint", help="URL of a P2L endpoint (p2l endpoint)")
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
    _add_unpublished(p)
    return p


def _add_unpublished(p: argparse.ArgumentParser) -> None:
    p.add_argument("--router-model-path", help="score in this process by this P2L checkpoint (folder or hub id)")
    p.add_argument(
        "--router-model-backend",
        choices=get_args(Backend),
        default="torch",
        help="what computes it; openvino and openvino-int8 are faster for encoders on a CPU (%(default)s)",
    )
    p.add_argument("--check-config", action="store_true", help="check the configuration and exit")
    p.add_argument("--state", help="SQLite file of spending, rates, sessions and thoughts, kept across restarts")
    p.add_argument(
        "--feedback",
        help="where decisions and votes are kept: a SQLite file, or postgresql://user@host/database with the password "
        "in PGPASSWORD; turns /v1/feedback on",
    )
    p.add_argument("--store-prompts", action="store_true", help="keep the user turns of decisions in --feedback")
    p.add_argument("--export-votes", type=Path, help="write the votes of --feedback as JSON lines and exit")
    p.add_argument("--max-body", type=int, default=32 << 20, help="most bytes of a request (default: %(default)s)")
    p.add_argument(
        "--score-cache", type=int, default=16, metavar="MIB",
        help="memory of a worker for scores: the same user turns are scored once; 0: off (default: %(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--score-cache-seconds", type=float, default=0.0, metavar="SECONDS",
        help="how long to keep the scores of an endpoint that does not name its model, as the published one does not "
        "(default: %(default)s: not at all)",
    )  # fmt: skip
    p.add_argument(
        "--allow-default-key",
        action="store_true",
        help="serve on more than loopback with the published default key, so that anybody may use the router",
    )
    p.add_argument(
        "--ignore-model-field",
        action="store_true",
        help="route even if a request names a configured model, as published (default: that model answers)",
    )
    p.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(%(default)s)")


def refuse_open_server(args: argparse.Namespace, snapshot: Snapshot) -> None:
    """Raise ConfigError for a router that anybody on the network may use, unless an option says so."""
    if snapshot.is_open and not args.allow_default_key and not is_loopback(args.host):
        raise ConfigError(
            f"--api-key is the published default {DEFAULT_KEY!r}, so that anybody who reaches {args.host} could use "
            "this router and its providers' keys. Give --api-key or keys in the configuration, listen on "
            "--host 127.0.0.1, or give --allow-default-key to serve as published"
        )


def options_of(args: argparse.Namespace) -> RouterOptions:
    """Return the options of parsed arguments; ConfigError if they do not fit together."""
    if (args.router_type is None) == (args.router_model_path is None):
        raise ConfigError("give one of --router-type and --router-model-path")
    if args.router_type not in (None, "random") and not args.router_model_endpoint:
        raise ConfigError(f"--router-type {args.router_type} needs --router-model-endpoint")
    if args.router_model_backend != "torch" and args.router_model_path is None:
        raise ConfigError(f"--router-model-backend {args.router_model_backend} needs --router-model-path")
    if args.store_prompts and args.feedback is None:
        raise ConfigError("--store-prompts needs --feedback, the file to store them in")
    if args.score_cache < 0 or not 0 <= args.score_cache_seconds < math.inf:
        raise ConfigError("--score-cache and --score-cache-seconds must be 0, which turns them off, or positive")
    state = args.state or os.environ.get(STATE_VARIABLE)
    if state is not None:
        check_is_file(state, "--state")
    return RouterOptions(
        config=args.config,
        router_type=args.router_type or "model",
        router_model_name=args.router_model_name,
        router_model_endpoint=args.router_model_endpoint,
        router_model_path=args.router_model_path,
        router_model_backend=args.router_model_backend,
        router_api_key=args.router_api_key,
        cost_optimizer=args.cost_optimizer,
        api_key=args.api_key,
        state=None if state is None else Path(state),
        feedback=args.feedback,
        store_prompts=args.store_prompts,
        max_body=args.max_body,
        ignore_model=args.ignore_model_field,
        score_cache=args.score_cache,
        score_cache_seconds=args.score_cache_seconds,
    )
