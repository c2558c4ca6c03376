"""Overrides as Hydra takes them: ``data.train=...`` means ``data=local``, and ``lora=null`` is its ``~lora``."""

from collections.abc import Mapping, Sequence

from p2l.composition.hydra_options import read_options

# an option that means a choice -> the group, and the choice
IMPLIED = {"data.train": ("data", "local")}
# option that Hydra would take for a group of the training -> the node that it sets
NOT_A_GROUP = {"route_eval": {"optimizer": "job.optimizer"}}
OFF_BY_DEFAULT = ("lora", "buffer", "experiment", "sweep")  # groups in which null is a choice


def as_hydra_takes_them(command: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with null choices rewritten, and the choices that options mean before them."""
    if command != "train":
        return [_not_a_group(argument, NOT_A_GROUP.get(command, {})) for argument in arguments]
    off = {f"{group}=null": f"~{group}" for group in OFF_BY_DEFAULT}
    rewritten = [off.get(argument, argument) for argument in arguments]
    overrides = read_options(rewritten).overrides
    at = rewritten.index(overrides[0]) if overrides else 0  # Hydra wants its overrides together
    return [*rewritten[:at], *implied_choices(overrides), *rewritten[at:]]


def _not_a_group(argument: str, nodes: Mapping[str, str]) -> str:
    name, equals, value = argument.partition("=")
    return f"{nodes[name]}={value}" if equals and name in nodes else argument


def implied_choices(overrides: Sequence[str]) -> list[str]:
    """Return the choices that options mean where the group has none: ``data=local`` for ``data.train=...``."""
    keys = {override.partition("=")[0].lstrip("+~") for override in overrides}
    return [
        f"{group}={choice}"
        for option, (group, choice) in IMPLIED.items()
        if option in keys and not keys & {group, "experiment"}
    ]
