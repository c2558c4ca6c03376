"""Build dataclasses from parsed YAML: check types by annotation, reject unknown keys, fill in environment variables.

pydantic would not be shorter: errors that name the place, suggest the nearest key and never quote a value (it may be a
key) need as much code to translate its errors as these checks take.
"""

import dataclasses
import difflib
import os
import re
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from p2l.errors import ConfigError

T = TypeVar("T")
_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read_section(cls: type[T], raw: object, where: str) -> T:
    """Return an object of the dataclass ``cls``; ConfigError names the key that is unknown, missing or of a wrong type.

    Errors never quote a value, since it may be a key.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected keys and values; got {_type_name(raw)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in raw:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {name!r}{hint}")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in raw]:
        raise ConfigError(f"{where}: {', '.join(missing)} missing")
    values = {name: _value(value, fields[name].type, f"{where}: {name}") for name, value in raw.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _value(raw: object, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return None if raw is None else _value(raw, options[0], where)
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
    return _scalar(raw, kind, where)


def _mapping(raw: object, kind: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected names and values; got {_type_name(raw)}")
    if bad := [name for name in raw if not isinstance(name, str)]:
        raise ConfigError(f"{where}: names must be strings (quote them); got {bad[0]!r}")
    return {name: value if kind is Any else _value(value, kind, f"{where}.{name}") for name, value in raw.items()}


def _list(raw: object, kind: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise ConfigError(f"{where}: expected a list; got {_type_name(raw)}")
    return tuple(_value(value, kind, f"{where}[{index}]") for index, value in enumerate(raw))


def _scalar(raw: object, kind: Any, where: str) -> Any:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError:
            raise ConfigError(f"{where}: the number is too large") from None
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ConfigError(f"{where}: expected {_TYPE_NAMES[kind]}; got {_type_name(raw)}")
    return _ENVIRONMENT.sub(lambda match: _environment(match[1], where), raw) if isinstance(raw, str) else raw


def _environment(name: str, where: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{where}: the environment variable {name} is not set")
    return os.environ[name]


_TYPE_NAMES = {float: "a number", int: "a whole number", str: "text (quote it)", bool: "true or false"}


def _type_name(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
