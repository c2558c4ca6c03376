"""Build dataclasses from parsed YAML: check types by annotation, reject unknown keys, fill in environment variables.

pydantic would not be shorter: errors that name the place, suggest the nearest key and never quote a value (it may be a
key) need as much code to translate its errors as these checks take.
"""

import dataclasses
import os
import re
import types
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from p2l.errors import ConfigError
from p2l.serving.router.config.near_names import suggestion
from p2l.serving.router.config.strict_yaml import AmbiguousText, Section

T = TypeVar("T")
# ${NAME}, ${NAME:-default}, and a whole value os.environ/NAME, as LiteLLM's configurations have it
_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\Aos\.environ/([A-Za-z_][A-Za-z0-9_]*)\Z")
_MISLEADING = re.compile(r"^[-+]?0[0-9_]|:")  # 0613 is octal, 1:30 counts in sixties


@dataclass(frozen=True)
class Place:
    """Where a value stands: the file, the names that lead to it, and its line if that is known."""

    file: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        file = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{file}: {self.path}" if self.path else file

    def inside(self, section: object, name: object, separator: str = ": ") -> "Place":
        """Return the place of a name in the section at this place."""
        path = f"{self.path}{separator}{name}" if self.path else str(name)
        return replace(self.line_of(section, name), path=path)

    def line_of(self, section: object, name: object) -> "Place":
        """Return this place with the line of a name in its section."""
        return replace(self, line=section.lines.get(name)) if isinstance(section, Section) else self


def read_section(cls: type[T], raw: object, where: Place) -> T:
    """Return an object of the dataclass ``cls``; ConfigError names the key that is unknown, missing or of a wrong type.

    Errors never quote a value, since it may be a key.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected keys and values; got {_type_name(raw)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in raw:
        if name not in fields:
            hint = suggestion(str(name), fields) or f"; known: {', '.join(fields)}"
            raise ConfigError(f"{where.line_of(raw, name)}: unknown key {name!r}{hint}")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in raw]:
        raise ConfigError(f"{where}: {', '.join(missing)} missing")
    values = {name: _value(value, fields[name].type, where.inside(raw, name)) for name, value in raw.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def read_text(raw: object, where: Place) -> str:
    """Return text with its variables filled in; ConfigError if it is not text."""
    return str(_value(raw, str, where))


def _value(raw: object, kind: Any, where: Place) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(raw, get_args(kind), where)
    if isinstance(raw, AmbiguousText):
        raw = _unambiguous(raw, kind, where)
    if dataclasses.is_dataclass(kind):
        return read_section(kind, {} if raw is None else raw, where)  # type: ignore[arg-type]
    if origin is dict:
        return _mapping(raw, get_args(kind)[1], where)
    if origin is tuple:
        return _list(raw, get_args(kind)[0], where)
    if origin is Literal:
        if raw not in get_args(kind):
            raise ConfigError(f"{where}: expected one of {', '.join(get_args(kind))}")
        return raw
    return _anything(raw, where) if kind is Any else _scalar(raw, kind, where)


def _one_of(raw: object, kinds: tuple[Any, ...], where: Place) -> Any:
    """Return a value of the first kind, or one of the words that another kind names, or None if it may be missing."""
    if raw is None and type(None) in kinds:
        return None
    words = [word for kind in kinds[1:] if get_origin(kind) is Literal for word in get_args(kind)]
    return raw if isinstance(raw, str) and raw in words else _value(raw, kinds[0], where)


def _unambiguous(raw: AmbiguousText, kind: Any, where: Place) -> object:
    """Return text as it is written, and ``yes`` or 8_192 if only its value can be meant; ConfigError if it is not."""
    if kind is str or (kind is Any and isinstance(raw.value, date)):
        return str(raw)
    if kind is Any or (kind in (int, float) and _MISLEADING.search(raw)):
        raise ConfigError(
            f"{where}: YAML reads this as another value than it looks like (0613 as 395, no as false, 1:30 as 90); "
            "quote text, and write numbers in decimal and truths as true or false"
        )
    return raw.value


def _anything(raw: object, where: Place, outer: tuple[int, ...] = ()) -> Any:
    """Return a value of any type, with the variables in its texts.

    Raises ConfigError if YAML reads a part of it otherwise than it is written.

    ``outer``: ids of what it stands in; a value that contains itself stays, and is not JSON.
    """
    if isinstance(raw, AmbiguousText):
        return _unambiguous(raw, Any, where)
    if isinstance(raw, str):
        return _with_variables(raw, where)
    if not isinstance(raw, (dict, list)) or id(raw) in outer:
        return raw
    outer = (*outer, id(raw))
    if isinstance(raw, list):
        return [_anything(value, where, outer) for value in raw]
    return {_name(name): _anything(value, where.inside(raw, name, "."), outer) for name, value in raw.items()}


def _name(name: object) -> object:
    return str(name) if isinstance(name, AmbiguousText) else name


def _mapping(raw: object, kind: Any, where: Place) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected names and values; got {_type_name(raw)}")
    if bad := [name for name in raw if not isinstance(name, str)]:
        raise ConfigError(f"{where.line_of(raw, bad[0])}: names must be strings (quote them); got {bad[0]!r}")
    return {str(name): _value(value, kind, where.inside(raw, name, ".")) for name, value in raw.items()}


def _list(raw: object, kind: Any, where: Place) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise ConfigError(f"{where}: expected a list; got {_type_name(raw)}")
    return tuple(_value(value, kind, replace(where, path=f"{where.path}[{i}]")) for i, value in enumerate(raw))


def _scalar(raw: object, kind: Any, where: Place) -> Any:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError:
            raise ConfigError(f"{where}: the number is too large") from None
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ConfigError(f"{where}: expected {_TYPE_NAMES[kind]}; got {_type_name(raw)}")
    return _with_variables(raw, where) if isinstance(raw, str) else raw


def _with_variables(text: str, where: Place) -> str:
    return _ENVIRONMENT.sub(lambda match: _environment(match[1] or match[3], match[2], where), text)


def _environment(name: str, default: str | None, where: Place) -> str:
    """Return the variable, or the default if it is not set or empty, as a shell does."""
    if default is not None:
        return os.environ.get(name) or default
    if name not in os.environ:
        raise ConfigError(f"{where}: the environment variable {name} is not set")
    return os.environ[name]


_TYPE_NAMES = {float: "a number", int: "a whole number", str: "text (quote it)", bool: "true or false"}


def _type_name(value: object) -> str:
    return "nothing" if value is None else "dict" if isinstance(value, dict) else type(value).__name__
