"""Public names of a package that are imported when they are first used, since most bring torch."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, names_of_module: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` (PEP 562) of a package.

    Args:
        package: its ``__name__``.
        names_of_module: dotted modules, with the names that each gives to the package. A module in the package must
            not have the name of one of them: once imported, it would take its place.

    >>> __getattr__ = lazy_names("p2l", {"p2l.errors": ("DataError",)})
    """
    module_of_name = {name: module for module, names in names_of_module.items() for name in names}

    def get(name: str) -> Any:
        if name not in module_of_name:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = getattr(import_module(module_of_name[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
