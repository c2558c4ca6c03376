"""Compose the configuration of a command before anything heavy is imported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from p2l.composition.hydra_options import HydraOptions
from p2l.composition.override_errors import Composition, explain
from p2l.errors import ConfigError

MOST_VARIANTS = 16  # of a sweep; Hydra checks the others when their job starts


def check_options(command: str, folder: Path, options: HydraOptions) -> None:
    """Raise ``ConfigError`` if the options do not compose, or leave a value that is needed without one."""
    for cfg in compose_all(command, folder, options):
        if not (options.multirun or options.show or options.help) and (missing := _missing(cfg)):
            raise ConfigError(f"no value given; add {' '.join(f'{name}=...' for name in missing)}")


def compose_all(command: str, folder: Path, options: HydraOptions) -> Iterator[DictConfig]:
    """Yield the configuration of a command; in a sweep one for the first values, one for the second, and so on."""
    added = search_path(options)
    parsed = _parse(options.overrides)
    with initialize_config_dir(str(folder), version_base=None):
        for overrides in _variants(parsed) if options.multirun else [list(options.overrides)]:
            try:
                yield compose(options.config_name or command, overrides=[*added, *overrides])
            except HydraException as error:
                composition = Composition(options.config_name or command, tuple(added))
                raise ConfigError(explain(error, composition, parsed)) from None


def search_path(options: HydraOptions) -> list[str]:
    """Return the override that adds the folder of --config-dir."""
    if options.config_dir is None:
        return []
    if not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir: there is no folder {options.config_dir}")
    return [f"hydra.searchpath=['file://{Path(options.config_dir).absolute()}']"]


def _parse(overrides: tuple[str, ...]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(f"cannot read {error.override}: {' '.join(str(error).split())}") from None


def _variants(overrides: list[Override]) -> Iterator[list[str]]:
    length = max((len(_values(override)) for override in overrides), default=1)
    for position in range(min(length, MOST_VARIANTS)):
        yield [values[min(position, len(values) - 1)] for values in map(_values, overrides) if values]


def _values(override: Override) -> list[str]:
    """List the overrides, one value each, that a sweep stands for; none for a range."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_choice_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _missing(cfg: DictConfig) -> list[str]:
    return sorted(_missing_in(OmegaConf.to_container(cfg, resolve=False)))


def _missing_in(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if value == "???":
            yield str(key)
        yield from (f"{key}.{name}" for name in _missing_in(value))
