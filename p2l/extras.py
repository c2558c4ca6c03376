"""What to install when a part of p2l lacks its packages."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement


def missing_extra(extra: str) -> str:
    """Return the command that installs an extra: in a clone, and the packages by name elsewhere."""
    packages = " ".join(f"'{name}'" for name in _not_installed(extra))
    by_name = f", or pip install {packages}" if packages else ""
    return f"run pip install -e '.[{extra}]' in a clone of p2l{by_name}"


def _not_installed(extra: str) -> list[str]:
    """List the requirements of an extra that this environment lacks, as pip takes them."""
    try:
        requirements = [Requirement(line) for line in requires("p2l") or []]
    except PackageNotFoundError:  # a clone that is on the path and not installed
        return []
    wanted = [line for line in requirements if line.marker is not None and line.marker.evaluate({"extra": extra})]
    return [_without_marker(line) for line in wanted if not _is_installed(line.name)]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _without_marker(requirement: Requirement) -> str:
    requirement.marker = None
    return str(requirement)
