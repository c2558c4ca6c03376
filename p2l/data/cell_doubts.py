"""Cells of a table that may not mean what they are read as: counted over all blocks of the table, and said once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_KEPT, _SHOWN = 160, 80  # characters of a text, and of a cell


@dataclass
class DoubtfulCells:
    """Cells of one kind: their number, of how many that were looked at, the place and the text of the first."""

    where: str
    count: int = 0
    of: int = 0
    place: str = ""
    shown: str = ""
    is_one_value: bool = True

    @property
    def counted(self) -> str:
        """Number and share, such as "3 of 1,200"."""
        return f"{self.count:,} of {self.of:,}"

    @property
    def quoted(self) -> str:
        """The first cell."""
        return repr(self.shown[:_SHOWN])


Sentence = Callable[[DoubtfulCells], str | None]  # may raise DataError


@dataclass
class CellDoubts:
    """Doubts about the cells of a table, by kind and column.

    Attributes:
        place: names a row of the block that is being read; by default the row itself.
    """

    place: Callable[[int], str] = str
    _found: dict[tuple[Sentence, str], DoubtfulCells] = field(default_factory=dict)

    def add(self, sentence: Sentence, where: str, rows: Sequence[int], of: int, text: Callable[[int], object]) -> None:
        """Add the rows of a block that hold such a cell, ``of`` those it has; ``text`` returns the cell of a row."""
        cells = self._found.setdefault((sentence, where), DoubtfulCells(where))
        if rows and not cells.count:
            cells.place, cells.shown = self.place(rows[0]), _short(text(rows[0]))
        cells.is_one_value = cells.is_one_value and all(_short(text(row)) == cells.shown for row in rows)
        cells.count += len(rows)
        cells.of += of

    def say(self) -> None:
        """Log a warning for each kind that has cells. DataError if a kind is an error."""
        for (sentence, _), cells in self._found.items():
            if cells.count and (text := sentence(cells)):
                log.warning("%s", text)


@contextmanager
def said_at_end(doubts: CellDoubts | None) -> Iterator[CellDoubts]:
    """Yield these doubts; without any, new ones, which are said at the end."""
    found = CellDoubts() if doubts is None else doubts
    yield found
    if doubts is None:
        found.say()


def _short(value: object) -> str:
    return str(value)[:_KEPT]
