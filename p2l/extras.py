"""What to install when a part of p2l lacks its packages."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from p2l.errors import ConfigError

OTHER_NAMES = {"flashattention2": "flash-attn", "flashattention": "flash-attn"}  # of packages, in messages of libraries


def missing_extra(extra: str) -> str:
    """Return the command that installs an extra: in a clone, and the packages by name elsewhere."""
    packages = " ".join(f"'{name}'" for name in _not_installed(extra))
    by_name = f", or pip install {packages}" if packages else ""
    return f"run pip install -e '.[{extra}]' in a clone of p2l{by_name}"


def check_modules(modules: Iterable[str], program: str, extra: str) -> None:
    """Raise ConfigError, with the command that installs the extra, if a module is not there; imports none of them."""
    if (lacking := next((name for name in modules if find_spec(name) is None), None)) is not None:
        raise ConfigError(f"{program} needs {lacking}: {missing_extra(extra)}")


def missing_package(message: str) -> str | None:
    """Return what to install if an error of a library names a missing package of an extra; None if it names none."""
    words = {word.lower().replace("_", "-") for word in re.findall(r"\w[\w-]*", message)}
    words |= {OTHER_NAMES[word] for word in words & OTHER_NAMES.keys()}
    for line in _requirements():
        extra = re.search(r"""extra == ['"]([\w-]+)""", str(line.marker))
        if extra and line.name.lower() in words and not _is_installed(line.name):
            return f"{line.name} is not installed; {missing_extra(extra.group(1))}"
    return None


def _not_installed(extra: str) -> list[str]:
    """List the requirements of an extra that this environment lacks, as pip takes them."""
    wanted = [line for line in _requirements() if line.marker is not None and line.marker.evaluate({"extra": extra})]
    return [_without_marker(line) for line in wanted if not _is_installed(line.name)]


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires("p2l") or []]
    except PackageNotFoundError:  # a clone that is on the path and not installed
        return []


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _without_marker(requirement: Requirement) -> str:
    requirement.marker = None
    return str(requirement)
