"""Commands of the published code, rewritten as those of today."""

import shlex
import sys
from collections.abc import Mapping, Sequence

from p2l.composition.config_check import list_options
from p2l.composition.config_folder import config_folder

# option of the published command -> ours; None where a checkpoint or the machine decides today
EVAL_OPTIONS = {
    "model": "model_path",
    "dataset": "dataset",
    "head_type": "head_type",
    "loss_type": "loss_type",
    "output_path": "output",
    "model_type": None,
    "batch_size": None,
}


def explain_eval(arguments: Sequence[str]) -> int:
    """Print the command that replaces ``python -m p2l.eval``; exit status 2."""
    return _explain("p2l.eval", "predict", arguments, EVAL_OPTIONS)


def explain_auto_evals(arguments: Sequence[str]) -> int:
    """Print the command that replaces ``python -m p2l.auto_evals``, whose options keep their names; exit status 2."""
    return _explain("p2l.auto_evals", "evaluate", arguments, {})


def _explain(module: str, command: str, arguments: Sequence[str], names: Mapping[str, str | None]) -> int:
    found = [(names.get(option, option), values) for option, values in _options(arguments)]
    lists = list_options(config_folder() / f"{command}.yaml")
    overrides = [f"{name}={_value(values, name in lists)}" for name, values in found if name is not None]
    rewritten = shlex.join(["p2l", command, *overrides])
    sys.stderr.write(f"python -m {module} is now p2l {command}; run: {rewritten}\n")
    return 2


def _options(arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """List ``--option value ...`` with their values, options in Python's spelling."""
    found: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            found.append((name.replace("-", "_"), [value] if value else []))
        elif found:
            found[-1][1].append(argument)
    return found


def _value(values: list[str], is_list: bool) -> str:
    if is_list or len(values) > 1:
        return f"[{','.join(values)}]"
    return values[0] if values else "true"
