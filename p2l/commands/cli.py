"""``p2l <command>``: train, rank, evaluate and serve.

Imports no torch, so that help and mistakes are answered at once.
"""

import os
import sys
from collections.abc import Sequence

from p2l.composition.config_folder import introduction

CONFIGURED = (
    "train",
    "predict",
    "leaderboard",
    "evaluate",
    "insight",
    "route_eval",
    "explore",
    "publish",
    "run_page",
    "add_models",
    "calibrate",
    "fit_costs",
    "posterior",
    "scaling_law",
    "update",
    "validate",
    "wandb_workspace",
)
SERVERS = {
    "endpoint": "Serve the scores of a checkpoint over HTTP",
    "router": "Serve an OpenAI-compatible router that picks the best model within a budget",
}

PRINTED = {
    "rank": "Rank the LLMs for one prompt",
    "replay": "Judge routing policies by the decisions of past traffic",
    "prices": "Show list prices of models, and what a router's configuration takes from them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``p2l`` with these arguments, by default those of the process; the exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    command = name.replace("-", "_")
    if command in CONFIGURED:
        from p2l.composition.hydra_command import run_command

        return run_command(command, rest, f"p2l {name}")
    if command in SERVERS:
        return _serve(command, rest)
    try:
        return _print(name, rest)
    except BrokenPipeError:  # the reader has left, as "| head" does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print(name: str, arguments: list[str]) -> int:
    """Run a command that only prints; the exit status."""
    status = 0
    if name == "rank":
        from p2l.commands.rank_prompt import main as rank

        status = rank(arguments)
    elif name == "replay":
        from p2l.commands.replay import main as replay

        status = replay(arguments)
    elif name == "prices":
        from p2l.commands.list_prices import main as prices

        status = prices(arguments)
    elif name in ("--help", "-h", "help"):
        sys.stdout.write(_help())
    elif name == "--version":
        from p2l import __version__

        sys.stdout.write(f"p2l {__version__}\n")
    else:
        sys.stderr.write(_unknown(name))
        status = 2
    sys.stdout.flush()
    return status


def run_script(command: str) -> int:
    """Run a command as ``python scripts/<command>.py``; the exit status."""
    from p2l.composition.hydra_command import run_command

    return run_command(command, sys.argv[1:], f"python scripts/{command}.py")


def _serve(command: str, arguments: list[str]) -> int:
    sys.argv = [f"p2l {command}", *arguments]
    try:
        if command == "endpoint":
            from p2l.endpoint.__main__ import main as serve
        else:
            from p2l.routing.openai_server import main as serve
    except ModuleNotFoundError as error:
        from p2l.extras import missing_extra

        sys.stderr.write(f"p2l {command} needs {error.name}: {missing_extra('serve')}\n")
        return 2
    return serve()


def _help() -> str:
    known = {**{name: introduction(name)[0] for name in CONFIGURED}, **SERVERS, **PRINTED}
    lines = [f"  {name.replace('_', '-'):<12} {text}" for name, text in known.items()]
    head = ["usage: p2l COMMAND ...", "", "From preference votes to a model that turns any prompt into a leaderboard."]
    return "\n".join([*head, "", *lines, "", "p2l COMMAND --help lists the options of a command.", ""])


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    known = [command.replace("_", "-") for command in (*CONFIGURED, *SERVERS, *PRINTED)]
    meant = get_close_matches(name.replace("_", "-"), known, 1)
    hint = f"; did you mean {meant[0]}?" if meant else "."
    return f"p2l has no command {name}{hint} Commands: {', '.join(known)}\n"
