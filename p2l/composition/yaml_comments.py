"""The comments of a YAML file, by the keys that they belong to."""

from pathlib import Path
from typing import NamedTuple

import yaml


class Comments(NamedTuple):
    """Comments by the path of a key: the lines above it, and the text beside it."""

    above: dict[str, list[str]]
    beside: dict[str, str]

    def update(self, other: "Comments") -> None:
        """Add the comments of another file, which win."""
        self.above.update(other.above)
        self.beside.update(other.beside)


def read_comments(path: Path, package: str) -> Comments:
    """Read the comments of a file whose keys lie under ``package``; its head belongs to the package itself."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    comments = Comments({}, {})
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        _read(node, lines, package, comments)
    head = [line for line in _block(lines, 0, 1) if not line.startswith("@package")]
    if head and package:
        comments.above[package] = head
    return comments


def _read(node: yaml.MappingNode, lines: list[str], parent: str, comments: Comments) -> None:
    for key, value in node.value:
        path = f"{parent}.{key.value}" if parent else str(key.value)
        line = key.start_mark.line
        if above := _block(lines, line - 1, -1):
            comments.above[path] = above
        nested = isinstance(value, yaml.CollectionNode) and not value.flow_style
        mark = key.end_mark if nested else value.end_mark
        rest = lines[mark.line][mark.column :].lstrip(": ")
        if rest.startswith("#"):
            comments.beside[path] = rest.lstrip("# ")
        if isinstance(value, yaml.MappingNode):
            _read(value, lines, path, comments)


def _block(lines: list[str], start: int, step: int) -> list[str]:
    """Collect the lines of comment from ``start`` on, in their order; a block that starts the file is its head."""
    found, position = [], start
    while 0 <= position < len(lines) and lines[position].lstrip().startswith("#"):
        found.append(lines[position].strip().lstrip("# "))
        position += step
    if step < 0 and position < 0:
        return []
    return found[::step]
