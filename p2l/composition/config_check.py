"""Compose the configuration of a command before anything heavy is imported."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from p2l.composition.config_objects import register_resolvers
from p2l.composition.hydra_options import HydraOptions
from p2l.composition.override_errors import Composition, explain, explain_null
from p2l.composition.override_quotes import explain_grammar
from p2l.errors import ConfigError
from p2l.files import check_file_to_write, check_folder_to_write

ONE_OR_MORE = {("insight", "categories")}  # lists for which one name will do
MOST_VARIANTS = 16  # of a sweep; Hydra checks the others when their job starts


def check_options(command: str, folder: Path, options: HydraOptions) -> None:
    """Raise ``ConfigError`` if the options do not compose, set a list to null, or leave out a value that is needed.

    Also if the command could not write its results, which else shows after hours of training.
    """
    register_resolvers()
    _check_form(folder / f"{options.config_name or command}.yaml", options.overrides)
    if options.multirun:
        _check_folder_of_sweep(options)
    for cfg in compose_all(command, folder, options):
        if options.show or options.help:
            continue
        if not options.multirun and (missing := _missing(cfg)):
            raise ConfigError(f"no value given; add {' '.join(f'{name}=...' for name in missing)}")
        _check_outputs(command, cfg, options)


def compose_all(command: str, folder: Path, options: HydraOptions) -> Iterator[DictConfig]:
    """Yield the configuration of a command, with Hydra's; in a sweep one for the first values, and so on."""
    added = search_path(options)
    parsed = _parse(options.overrides)
    with initialize_config_dir(str(folder), version_base=None):
        for overrides in _variants(parsed) if options.multirun else [list(options.overrides)]:
            try:
                yield compose(options.config_name or command, overrides=[*added, *overrides], return_hydra_config=True)
            except ValueError as error:
                raise ConfigError(explain_null(parsed) or str(error)) from None
            except HydraException as error:
                composition = Composition(options.config_name or command, tuple(added))
                raise ConfigError(explain(error, composition, parsed)) from None
        _check_lists(command, folder, options)


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
        raise ConfigError(explain_grammar(str(error.override), str(error))) from None


def _check_form(file: Path, overrides: Sequence[str]) -> None:
    """Raise ``ConfigError`` for a value without the name of its option; it may be that of the option that is needed."""
    given = {override.partition("=")[0] for override in overrides}
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            needed = [name for name in needed_options(file) if name not in given]
            hint = f"did you mean {shlex.quote(f'{needed[-1]}={override}')}? " if needed else ""
            raise ConfigError(f"{override} has no name; {hint}options are written NAME=VALUE")


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


def _check_folder_of_sweep(options: HydraOptions) -> None:
    """Raise ConfigError if the jobs of a sweep would all write to one folder."""
    parsed = _parse(options.overrides)
    if not any(override.is_sweep_override() for override in parsed):
        return
    for override in parsed:
        value = str(override.input_line)
        if override.key_or_group in ("output_dir", "output") and not override.is_sweep_override() and "${" not in value:
            raise ConfigError(
                f"{value} would be the same for all jobs of the sweep, and each would overwrite the last one's files; "
                "leave it out and give hydra.sweep.dir=<folder>, in which each job has its own"
            )


def _check_outputs(command: str, cfg: DictConfig, options: HydraOptions) -> None:
    """Raise ConfigError if the folder or file of the results cannot be written."""
    if options.multirun:
        check_folder_to_write("hydra.sweep.dir", cfg.hydra.sweep.dir)
        return
    for name in ("output_dir", "output"):
        path = OmegaConf.select(cfg, name)
        if path is not None:
            is_file = (command, name) == ("predict", "output")
            (check_file_to_write if is_file else check_folder_to_write)(name, path)


def _check_lists(command: str, folder: Path, options: HydraOptions) -> None:
    """Raise ConfigError if an override sets an option to null, or to one value, that is a list without it."""
    single = [override for override in _parse(options.overrides) if not override.is_sweep_override()]
    groups = GlobalHydra.instance().config_loader()
    lists = list_options(folder / f"{options.config_name or command}.yaml")
    for override in single:
        key = override.key_or_group
        if override.is_delete() or groups.get_group_options(key):
            continue
        value = override.value()
        is_one = isinstance(value, (str, int, float)) and "${" not in str(value)
        if is_one and key in lists and (command, key) not in ONE_OR_MORE:
            raise ConfigError(f"{override.input_line}, but it is a list; give {key}=[{value}]")
        if value is not None:
            continue
        others = [str(other.input_line) for other in single if other.key_or_group != key]
        try:
            before = compose(options.config_name or command, overrides=[*search_path(options), *others])
        except HydraException:  # the overrides that are left out belong to them
            continue
        if OmegaConf.is_list(OmegaConf.select(before, key)):
            raise ConfigError(f"{key}=null, but it is a list; {key}=[] leaves it empty")


def list_options(file: Path) -> set[str]:
    """Return the options at the top of a configuration file whose values are lists."""
    return {key for key, value in _options(file).items() if isinstance(value, list) and key != "defaults"}


def needed_options(file: Path) -> list[str]:
    """Return the options at the top of a configuration file that have no value, in its order."""
    return [key for key, value in _options(file).items() if value == "???"]


def _options(file: Path) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False) if file.exists() else {}
    return {str(key): value for key, value in options.items()}


def _missing(cfg: DictConfig) -> list[str]:
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return sorted(_missing_in(OmegaConf.to_container(own, resolve=False)))


def _missing_in(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if value == "???":
            yield str(key)
        yield from (f"{key}.{name}" for name in _missing_in(value))
