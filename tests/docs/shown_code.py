"""What the README and the pages show: commands of ```bash blocks and programs of ```python blocks, word for word."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ShownCode:
    """A block of a page: the page's path in the repository, the block's language, and its text."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class ShownCommand:
    """A command of a page, as it stands there; continued lines are one."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """What a shell makes of it; nothing is expanded."""
        return shlex.split(self.text, comments=True)


def shown_code(page: Path, language: str) -> list[ShownCode]:
    """Return the blocks of a language, in their order."""
    name = page.relative_to(ROOT).as_posix()
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [ShownCode(name, block, text) for block, text in found if block == language]


def shown_commands(page: Path) -> list[ShownCommand]:
    """Return the commands of a page, in their order."""
    return [
        ShownCommand(block.page, command) for block in shown_code(page, "bash") for command in _commands(block.text)
    ]


def commands_in_tables(page: Path) -> list[ShownCommand]:
    """Return what tables show as `p2l ...` or `python -m p2l...`."""
    rows = (line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    spans = (span for row in rows for span in re.findall(r"`(p2l [a-z][^`]*)`", row))
    name = page.relative_to(ROOT).as_posix()
    return [ShownCommand(name, span) for span in spans if "..." not in span]


def _commands(block: str) -> Iterator[str]:
    joined = block.replace("\\\n", " ")
    return (line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#"))
