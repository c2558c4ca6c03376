"""Run a command that a file of ``conf/`` configures: help and mistakes first, then Hydra, then the command."""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra

from p2l.composition.config_check import check_options
from p2l.composition.config_folder import config_folder
from p2l.composition.config_help import format_help
from p2l.composition.hydra_options import read_options
from p2l.composition.hydra_task import hydra_task
from p2l.composition.implied_overrides import as_hydra_takes_them
from p2l.errors import ConfigError


def run_command(command: str, arguments: Sequence[str], program: str) -> int:
    """Run a command; the exit status, 2 if its options are wrong. ``program`` is how messages call it."""
    original = list(sys.argv)
    task = hydra_task(command, original)
    try:
        arguments = as_hydra_takes_them(command, arguments)
        options = read_options(arguments)
        folder = _folder(options.config_path)
        if not options.question:
            check_options(command, folder, options)
        if options.help:
            sys.stdout.write(format_help(command, program, folder, options))
            return 0
    except ConfigError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 2
    # Hydra reads sys.argv, in which the name of the command would be an override
    sys.argv = [original[0], *_with_folder(arguments, options.config_path, folder)]
    try:
        hydra.main(version_base=None, config_path=str(folder), config_name=command)(task)()
    finally:
        sys.argv = original
    return 0


def _folder(config_path: str | None) -> Path:
    """Return the folder of the configuration; as Hydra has it, a relative one is relative to the script."""
    if config_path is None:
        return config_folder()
    script = Path(sys.argv[0])
    folder = ((script.parent if script.suffix == ".py" else Path()) / config_path).resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-path: there is no folder {folder}")
    return folder


def _with_folder(arguments: Sequence[str], config_path: str | None, folder: Path) -> list[str]:
    """Return the arguments with the value of --config-path made absolute."""
    if config_path is None:
        return list(arguments)
    absolute = {config_path: str(folder), f"--config-path={config_path}": f"--config-path={folder}"}
    return [absolute.get(argument, argument) for argument in arguments]
