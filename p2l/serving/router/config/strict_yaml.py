"""YAML in which no value differs silently from what is written: PyYAML keeps the last of two, and reads 0613 as 395."""

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError

_PLAIN_BOOL = re.compile(r"true|false", re.IGNORECASE)
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_PLAIN_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.IGNORECASE)


class AmbiguousText(str):
    """Unquoted text as it is written, which YAML 1.1 reads as ``value``: 0613 as 395, ``no`` as False, 1:30 as 90."""

    value: object


class Section(dict[Hashable, Any]):
    """A mapping that knows the lines of its names."""

    lines: dict[Hashable, int]


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that rejects a mapping with the same name twice. A merge (``<<``) may still be overridden."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise DuplicateNameError(None, None, f"the name {key!r} stands twice", key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else id(key))
        return super().construct_mapping(node, deep)

    def construct_section(self, node: yaml.MappingNode) -> Iterator[Section]:
        section = Section()
        yield section
        section.update(self.construct_mapping(node))
        section.lines = {self.construct_object(key): key.start_mark.line + 1 for key, _ in node.value}

    def construct_bool(self, node: yaml.ScalarNode) -> object:
        return _as_written(node, self.construct_yaml_bool(node), _PLAIN_BOOL)

    def construct_int(self, node: yaml.ScalarNode) -> object:
        return _as_written(node, self.construct_yaml_int(node), _PLAIN_INT)

    def construct_float(self, node: yaml.ScalarNode) -> object:
        return _as_written(node, self.construct_yaml_float(node), _PLAIN_FLOAT)

    def construct_date(self, node: yaml.ScalarNode) -> object:
        return _as_written(node, self.construct_yaml_timestamp(node), None)


def _as_written(node: yaml.ScalarNode, value: object, plain: re.Pattern[str] | None) -> object:
    """Return the value; the text if it is in a form that YAML 1.1 alone reads so."""
    if plain is not None and plain.fullmatch(node.value):
        return value
    text = AmbiguousText(node.value)
    text.value = value
    return text


for _tag, _constructor in (
    ("map", _StrictLoader.construct_section),
    ("bool", _StrictLoader.construct_bool),
    ("int", _StrictLoader.construct_int),
    ("float", _StrictLoader.construct_float),
    ("timestamp", _StrictLoader.construct_date),
):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)


class DuplicateNameError(ConstructorError):
    """A name stands twice in one mapping; ``problem`` names it."""


def load_yaml(text: str) -> Any:
    """Return the parsed text; yaml.YAMLError, or what a constructor raises for an impossible value.

    Mappings are of type ``Section``. Unquoted text that YAML 1.1 reads as another value is ``AmbiguousText``.
    """
    return yaml.load(text, _StrictLoader)
