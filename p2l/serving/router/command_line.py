"""The command line of ``python -m p2l.routing.openai_server``."""

import argparse
import os
from pathlib import Path
from typing import get_args

from p2l.errors import ConfigError
from p2l.routing.scores import Optimizer
from p2l.serving.router.config.router_options import DEFAULT_KEY, RouterOptions

ROUTER_TYPES = ("random", "bt-endpoint", "grk-endpoint", "bag-endpoint")
STATE_VARIABLE = "P2L_ROUTER_STATE"


def parser() -> argparse.ArgumentParser:
    """Return the parser: the published options, then those of this project."""
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
    _add_unpublished(p)
    return p


def _add_unpublished(p: argparse.ArgumentParser) -> None:
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
        help="route even if a request names a configured model, as published (default: that model answers)",
    )
    p.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(%(default)s)")


def options_of(args: argparse.Namespace) -> RouterOptions:
    """Return the options of parsed arguments; ConfigError if they do not fit together."""
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
