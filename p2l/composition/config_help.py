"""Help of a command: its groups and their choices, its options with their values and the comments of the files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from p2l.composition.config_check import search_path
from p2l.composition.config_folder import introduction
from p2l.composition.hydra_options import HydraOptions
from p2l.composition.yaml_comments import Comments, read_comments

# how objects are made of the options above them
WIRING = ("checkpoint", "datamodule", "job", "module", "suite")

USAGE = """usage: {program} [OPTION=VALUE ...] [-m] [--cfg job] [--config-dir FOLDER]

{summary}: {example}

-m runs the command for each value of OPTION=VALUE,VALUE; --cfg job prints the whole configuration; --config-dir adds
a folder with files of your own; --hydra-help lists the other options of Hydra.
"""


def format_help(command: str, program: str, folder: Path, options: HydraOptions) -> str:
    """Return the help of a command, with the values that its options have after the overrides."""
    overrides = [*search_path(options), *options.overrides]
    with initialize_config_dir(str(folder), version_base=None):
        loader = GlobalHydra.instance().config_loader()
        cfg = OmegaConf.to_container(compose(command, overrides=overrides), resolve=False)
        defaults = loader.compute_defaults_list(command, overrides, RunMode.RUN).defaults
        choices = {group: loader.get_group_options(group) for group in _groups(folder / f"{command}.yaml")}
    comments = Comments({}, {})
    for default in defaults:
        file = folder / f"{default.config_path}.yaml"
        if file.exists() and default.package != "hydra":
            comments.update(read_comments(file, default.package or ""))
    summary, example = introduction(command)
    parts = [USAGE.format(program=program, summary=summary, example=example)]
    if choices:
        parts += ["Groups (GROUP=CHOICE):", *(f"  {group}: {', '.join(names)}" for group, names in choices.items()), ""]
    return "\n".join([*parts, "Options:", *_lines(_in_order(cfg), comments, "", 1), ""])


def _in_order(cfg: Any) -> dict[Any, Any]:
    """Return the options without the wiring: those that need a value, the other single ones, then groups."""
    options = [(key, value) for key, value in cfg.items() if key not in WIRING]
    return dict(sorted(options, key=lambda option: (isinstance(option[1], dict), option[1] != "???")))


def _groups(file: Path) -> list[str]:
    """List the groups that a configuration chooses from, in its order."""
    entries = OmegaConf.select(OmegaConf.load(file), "defaults", default=[])
    names = [str(name) for entry in entries if OmegaConf.is_dict(entry) for name in entry]
    return [name for name in names if not name.startswith("override ")]


def _lines(node: dict[Any, Any], comments: Comments, parent: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in node.items():
        path = f"{parent}.{key}" if parent else str(key)
        yield from (f"{indent}# {line}" for line in comments.above.get(path, ()))
        beside = f" # {comments.beside[path]}" if path in comments.beside else ""
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:{beside}"
            yield from _lines(value, comments, path, depth + 1)
        else:
            yield f"{indent}{key}: {_scalar(value)}{beside}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        value = re.sub(r"\$\{p2l\.output_dir:([^${}]*)\}", r"\1", value)  # what it is outside of a sweep
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
