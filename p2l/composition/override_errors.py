"""Explain why overrides do not compose: which one it is, and which option it most likely means."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf

from p2l.composition.option_names import nearest
from p2l.extras import missing_extra

PLUGINS = ("hydra/launcher/", "hydra/sweeper/")
OFF_BY_DEFAULT = ("buffer", "lora")  # groups whose options lie in a node of another name


@dataclass(frozen=True)
class Composition:
    """What is composed: a configuration, and the overrides that add folders to its search path."""

    config: str
    search_path: tuple[str, ...] = ()

    def options(self, *overrides: str) -> set[str]:
        """Return every key, with its path, and every group that these overrides leave to choose."""
        cfg = compose(self.config, overrides=[*self.search_path, *overrides], return_hydra_config=True)
        groups = {group.partition("@")[0] for group in cfg.hydra.runtime.choices}
        keys = _keys(OmegaConf.to_container(cfg, resolve=False))
        return groups | {key for key in keys if not key.startswith("hydra")}

    def has(self, key: str, *overrides: str) -> bool:
        """Return whether these overrides compose, and leave this option to set."""
        try:
            return key in self.options(*overrides)
        except HydraException:
            return False


def explain(error: HydraException, composition: Composition, overrides: list[Override]) -> str:
    """Return the message for a user; Hydra's own if no option is at fault."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_choice(error)
    return _explain_null_key(overrides) or _explain_key(composition, overrides) or str(error)


def explain_null(overrides: list[Override]) -> str | None:
    """Explain that a group is set to null, which Hydra cannot do; None if no group is."""
    loader = GlobalHydra.instance().config_loader()
    for override in overrides:
        choices = loader.get_group_options(override.key_or_group)
        if choices and "null" in str(override.input_line).partition("=")[2]:
            return f"{override.input_line}: null is no choice of {override.key_or_group}; choices: {', '.join(choices)}"
    return None


def _explain_null_key(overrides: list[Override]) -> str | None:
    """Explain that null is a key of a mapping, which no configuration can hold; None if it is none."""
    for override in overrides:
        value = override.value() if not override.is_sweep_override() else None
        if isinstance(value, dict) and None in value:
            return (
                f"{override.input_line}: null cannot be a key; an empty cell of a table is a missing value, and a text "
                "null of a table must be changed in it"
            )
    return None


def _explain_choice(error: MissingConfigException) -> str:
    """Explain a choice of a group that has no file."""
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    if str(error.missing_cfg_file).startswith(PLUGINS):
        return f"{error.missing_cfg_file} needs a plugin of Hydra: {missing_extra('sweep')}"
    choices = sorted(error.options or GlobalHydra.instance().config_loader().get_group_options(group))
    if not choices:
        return f"there is no configuration {error.missing_cfg_file}"
    meant = nearest(choice, choices)
    hint = f"; did you mean {group}={meant}?" if meant else "."
    return f"{group} has no choice {choice}{hint} Choices: {', '.join(choices)}"


def _explain_key(composition: Composition, overrides: list[Override]) -> str | None:
    """Explain the first override of an option that is not there; None if there is no such override."""
    loader = GlobalHydra.instance().config_loader()
    chosen = [override for override in overrides if loader.get_group_options(override.key_or_group)]
    try:
        known = composition.options(*(str(override.input_line) for override in chosen))
    except HydraException:
        known = composition.options()
    for override in overrides:
        key = override.key_or_group
        if override.is_add() or override.is_force_add() or key.startswith("hydra") or key in known:
            continue
        if choices := _choices_with(key, composition, chosen):
            return f"unknown option {key}; it needs one of {', '.join(choices)}"
        meant = nearest(key, [name for name in known if not override.is_delete() or name.count(".") == key.count(".")])
        hint = f"did you mean {_rewritten(override, meant)}? " if meant else ""
        return f"unknown option {key}; {hint}--help lists all options"
    return None


def _choices_with(key: str, composition: Composition, chosen: list[Override]) -> list[str]:
    """List the choices that have this option, such as ``data=local`` for ``data.train``, of the groups it may be in."""
    loader, found = GlobalHydra.instance().config_loader(), []
    for group in (key.partition(".")[0], *OFF_BY_DEFAULT) if "." in key else ():
        others = [str(override.input_line) for override in chosen if override.key_or_group != group]
        choices = [f"{group}={choice}" for choice in loader.get_group_options(group)]
        found += [choice for choice in choices if composition.has(key, *others, choice)]
    return found


def _rewritten(override: Override, key: str) -> str:
    return f"~{key}" if override.is_delete() else f"{key}={str(override.input_line).partition('=')[2]}"


def _keys(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield str(key)
        yield from (f"{key}.{name}" for name in _keys(value))
