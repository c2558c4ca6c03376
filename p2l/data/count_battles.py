"""Count the votes of a table of any size, with the checks and the report of ``load_battles``."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from p2l.data.adapters import BATTLE_COLUMNS_OF_RELEASES, Adapter, battle_adapter, chosen_columns
from p2l.data.battle_cells import CellNames, CellSums, CodedBlock
from p2l.data.battle_counts import BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import (
    BATTLE_COLUMNS,
    NUMBERS,
    BattleColumns,
    check_columns,
    count_values,
)
from p2l.data.categories import Category
from p2l.data.column_meanings import warn_of_unread_columns
from p2l.data.judged_cells import JudgedCells, fault_details, pair_counts, rows_with, warn_of_other_winners
from p2l.data.skip_report import (
    ROWS_SHOWN,
    Mask,
    SkipCounts,
    check_skipped,
)
from p2l.data.table_blocks import BlockedTable, Each, with_columns
from p2l.data.winner_labels import AmbiguousWinnerError, WinnerMap, check_labels, read_winners
from p2l.errors import DataError

ALL = Category("all")
RowMask = Callable[[CodedBlock], Mask]
Sums = tuple[CellSums, dict[str, CellSums | DataError]]  # of all rows, and by category


def count_battles(
    table: BlockedTable,
    *,
    models: Sequence[str] | None = None,
    max_skipped_share: float = 0.05,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
    categories: Sequence[Category] = (ALL,),
    each: Each | None = None,
) -> tuple[dict[str, BattleCounts | DataError], SkipCounts]:
    """Count the votes of a table, read once in blocks, and once more if rows are skipped, to name the first of them.

    Options as in ``p2l.data.load_battles``. ``each`` calls a function with each item, as ``map`` does: the files of the
    table are then counted apart, perhaps on other machines. Returns the counts of each category by name, over the
    models of its votes if ``models`` are not given, or the reason why it has none; and what was skipped in the whole
    table.

    Raises:
        DataError: as ``load_battles``.
        NeedsEachVoteError: ``labels`` that point into the whole table, or too many names to count by.
    """
    counter = _Counter(table, dict(columns or {}), winner_map, models)
    everything, parts = counter.sums(categories) if each is None else counter.sums_of_files(categories, each)
    judged = counter.judge(everything)
    report = counter.report(everything, judged)
    check_skipped(report, max_skipped_share, table.source)
    check_labels(report, max_skipped_share, table.source)
    warn_of_other_winners(everything, judged)
    found = {
        name: part if isinstance(part, DataError) else pair_counts(part, judged, models) for name, part in parts.items()
    }
    for name, part in parts.items():
        if part is everything and isinstance(reason := found[name], DataError):
            raise DataError(f"{table.source}: {reason}")
    return found, report


class _Rows(NamedTuple):
    """A block of the table: its battles, the same as numbers, and where it stands."""

    frame: pd.DataFrame
    coded: CodedBlock
    file: str
    first_row: int


@dataclass
class _Counter:
    table: BlockedTable
    columns: dict[str, str]
    winner_map: WinnerMap | None
    models: Sequence[str] | None
    names: CellNames = field(default_factory=CellNames)

    def sums_of_files(self, categories: Sequence[Category], each: Each) -> Sums:
        """Return the same as ``sums``; each file is counted apart."""
        self.table = with_columns(self.table, each)
        everything, parts = CellSums(), dict[str, CellSums | DataError]()
        count = partial(_sums_of_table, columns=self.columns, categories=categories)
        for names, (found, by_category) in each(count, self.table.parts()):
            places = self.names.absorb(names)
            self.names.check_number(self.table.source)
            everything.merge(found, places, self.names.shape)
            for name, more in by_category.items():
                mine = parts.setdefault(name, everything if more is found else CellSums())
                if isinstance(mine, CellSums) and isinstance(more, DataError):
                    parts[name] = more
                elif isinstance(mine, CellSums) and isinstance(more, CellSums) and mine is not everything:
                    mine.merge(more, places, self.names.shape)
        return everything, parts

    def sums(self, categories: Sequence[Category]) -> Sums:
        """Return the sums over all rows, and over those of each category, or why there are none."""
        everything, more = CellSums(), set[str]()
        parts: dict[str, CellSums | DataError] = {}
        for category in categories:
            try:
                more |= category.needs(self._schema.columns)
                parts[category.name] = CellSums() if category.columns else everything
            except DataError as reason:
                parts[category.name] = reason
        for frame, coded, _, _ in self._blocks(more):
            everything.add(coded, self.names.shape)
            for category in categories:
                part = parts[category.name]
                if isinstance(part, CellSums) and part is not everything:
                    try:
                        part.add(coded, self.names.shape, category.rows(frame))
                    except DataError as reason:
                        parts[category.name] = reason
        return everything, parts

    def judge(self, sums: CellSums) -> JudgedCells:
        """Read the labels of all cells that hold rows, and find their faults."""
        if not sums.sums:
            raise DataError(f"{self.table.source} holds no rows")
        cells = np.flatnonzero(sums.rows)
        try:
            frame = read_winners(self.names.frame(cells), self.winner_map)
        except AmbiguousWinnerError as error:
            at = self._first_rows({"": lambda block: block.cells == cells[error.row]}, {"": 1})[""][0]
            raise DataError(f"row {at}: {error.problem}") from None
        battles, faults = BattleColumns.of(frame, self.table.source), {}
        good = np.ones(len(cells), dtype=bool)
        for reason, bad in battles.bad_rows(self.models).items():
            if (bad & good).any():
                faults[reason] = bad & good
            good &= ~bad
        return JudgedCells(cells, battles, faults, good)

    def report(self, sums: CellSums, judged: JudgedCells) -> SkipCounts:
        """Report the rows that are not votes: their number by reason, and the first of them."""
        rows = sums.rows[judged.cells]
        counts = {reason: int(rows[bad].sum()) for reason, bad in judged.faults.items()}
        for fault in NUMBERS:
            counts[fault] = int(sums.of(fault)[judged.cells][judged.good].sum())
        counts = {reason: count for reason, count in counts.items() if count}
        total, skipped = int(rows.sum()), sum(counts.values())
        masks = {reason: partial(rows_with, reason, judged=judged) for reason in counts}
        first = self._first_rows(masks, counts) if counts else {}
        details = fault_details(judged, rows, self.models) | self._values(
            judged, [name for name in NUMBERS if name in counts]
        )
        return SkipCounts(total, total - skipped, counts, first, details)

    def _values(self, judged: JudgedCells, faults: Collection[str]) -> dict[str, dict[str, int]]:
        """Count the values of these faults of numbers, in one more pass if there are any."""
        found: dict[str, Counter[str]] = {fault: Counter() for fault in faults}
        for block in self._blocks() if faults else ():
            for fault, values in found.items():
                values += count_values(block.frame[rows_with(fault, block.coded, judged)], fault)
        return {fault: dict(values) for fault, values in found.items()}

    def _first_rows(self, masks: Mapping[str, RowMask], counts: Mapping[str, int]) -> dict[str, list[str]]:
        """Return the places of the first rows of each mask; a mask marks ``counts`` rows of the table."""
        found: dict[str, list[str]] = {name: [] for name in masks}
        several = len(self.table.files) > 1
        for block in self._blocks():
            for name, mask in masks.items():
                left = min(ROWS_SHOWN, counts[name]) - len(found[name])
                rows = np.flatnonzero(mask(block.coded))[:left] + block.first_row if left else ()
                found[name] += [f"{row} of {block.file}" if several else str(row) for row in rows]
            if all(len(found[name]) == min(ROWS_SHOWN, counts[name]) for name in masks):
                break
        return found

    @cached_property
    def _schema(self) -> pd.DataFrame:
        return chosen_columns(pd.DataFrame(columns=np.array(self.table.columns, dtype=object)), self.columns)

    @cached_property
    def _adapter(self) -> Adapter:
        """How blocks become battles; raises ``DataError`` if columns are missing."""
        adapter = battle_adapter(self._schema.columns)
        if adapter is None:
            raise NeedsEachVoteError(
                f"{self.table.source}: its labels are positions among all models of the table, which cannot be read in "
                "blocks; read it whole (stream=false), or add a column winner"
            )
        warn_of_unread_columns(self.table.columns, self.columns, self.table.source)
        check_columns(adapter(self._schema).columns, BATTLE_COLUMNS, self.table.source)
        return adapter

    def _blocks(self, more: Collection[str] = ()) -> Iterator[_Rows]:
        """Yield the blocks of the table, with the columns of battles and some more."""
        adapter = self._adapter
        needed = [self.columns.get(name, name) for name in (*BATTLE_COLUMNS_OF_RELEASES, *more)]
        coded = [self.columns.get(name, name) for name in BATTLE_COLUMNS]
        for block in self.table.blocks(needed, coded=coded):
            known = {name: old for name, old in self.columns.items() if old in block.frame.columns}
            frame = adapter(chosen_columns(block.frame, known))
            yield _Rows(frame, self.names.code(frame, self.table.source), block.file, block.first_row)


def _sums_of_table(
    table: BlockedTable, columns: dict[str, str], categories: Sequence[Category]
) -> tuple[CellNames, Sums]:
    counter = _Counter(table, columns, winner_map=None, models=None)
    sums = counter.sums(categories)
    return counter.names, sums
