"""The options of Hydra on the command line, as far as they decide what is checked before a command runs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from p2l.errors import ConfigError

# what Hydra answers on its own
QUESTIONS = ("hydra_help", "version", "shell_completion", "info", "experimental_rerun")
PUBLISHED = (
    "a published training configuration is an experiment here; give experiment=<name> data.train=<votes>, "
    "conf/experiment/README.md has the name of each"
)


@dataclass(frozen=True)
class HydraOptions:
    """Overrides, and the options that change which configuration they apply to."""

    overrides: tuple[str, ...]
    multirun: bool
    help: bool
    show: bool
    question: bool
    config_path: str | None
    config_name: str | None
    config_dir: str | None


def read_options(arguments: Sequence[str]) -> HydraOptions:
    """Read the arguments that Hydra will read; those that neither knows are left for Hydra to report."""
    known, _ = _parser().parse_known_intermixed_args(list(arguments))
    if known.config is not None:
        raise ConfigError(f"--config {known.config}: {PUBLISHED}")
    return HydraOptions(
        overrides=tuple(known.overrides),
        multirun=known.multirun,
        help=known.help,
        show=known.cfg is not None,
        question=any(getattr(known, name) for name in QUESTIONS),
        config_path=known.config_path,
        config_name=known.config_name,
        config_dir=known.config_dir,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    for flags in (("-h", "--help"), ("-m", "--multirun"), ("-r", "--run"), ("-sc", "--shell-completion")):
        parser.add_argument(*flags, action="store_true")
    for flag in ("--hydra-help", "--version", "--resolve"):
        parser.add_argument(flag, action="store_true")
    for flags in (("-c", "--cfg"), ("-p", "--package"), ("-cp", "--config-path"), ("-cn", "--config-name")):
        parser.add_argument(*flags)
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("--experimental-rerun")
    parser.add_argument("--config")
    parser.add_argument("-i", "--info", nargs="?", const="all")
    return parser
