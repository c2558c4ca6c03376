"""Count the votes of a table of any size, with the checks and the report of ``load_battles``."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.adapters import BATTLE_COLUMNS_OF_RELEASES, Adapter, battle_adapter, chosen_columns
from p2l.data.battle_cells import AGAINST, HARD, PRODUCTS, SOFT, SQUARES, WEIGHT, CellNames, CellSums, CodedBlock
from p2l.data.battle_counts import NUM_OUTCOMES, BattleCounts, NeedsEachVoteError, Pairs
from p2l.data.battle_table import (
    BATTLE_COLUMNS,
    NO_WEIGHT,
    NUMBERS,
    BattleColumns,
    check_columns,
    count_values,
    warn_of_other_winners,
)
from p2l.data.categories import Category
from p2l.data.column_meanings import warn_of_unread_columns
from p2l.data.skip_report import (
    ROWS_SHOWN,
    UNKNOWN_MODEL,
    UNKNOWN_WINNER,
    Mask,
    SkipCounts,
    check_skipped,
)
from p2l.data.table_blocks import BlockedTable, Each, with_columns
from p2l.data.winner_labels import AmbiguousWinnerError, WinnerMap, check_labels, read_winners
from p2l.errors import DataError
from p2l.winner import OUTCOMES

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
    _check_winners(everything, judged)
    found = {
        name: part if isinstance(part, DataError) else _counts(part, judged, models) for name, part in parts.items()
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


@dataclass(frozen=True)
class _Judged:
    """The cells that hold rows, and the faults of their names: each cell has at most one."""

    cells: Int64[np.ndarray, " cells"]
    battles: BattleColumns
    faults: dict[str, Mask]
    good: Mask


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

    def judge(self, sums: CellSums) -> _Judged:
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
        return _Judged(cells, battles, faults, good)

    def report(self, sums: CellSums, judged: _Judged) -> SkipCounts:
        """Report the rows that are not votes: their number by reason, and the first of them."""
        rows = sums.rows[judged.cells]
        counts = {reason: int(rows[bad].sum()) for reason, bad in judged.faults.items()}
        for fault in NUMBERS:
            counts[fault] = int(sums.of(fault)[judged.cells][judged.good].sum())
        counts = {reason: count for reason, count in counts.items() if count}
        total, skipped = int(rows.sum()), sum(counts.values())
        masks = {reason: partial(_rows_with, reason, judged=judged) for reason in counts}
        first = self._first_rows(masks, counts) if counts else {}
        details = _details(judged, rows, self.models) | self._values(
            judged, [name for name in NUMBERS if name in counts]
        )
        return SkipCounts(total, total - skipped, counts, first, details)

    def _values(self, judged: _Judged, faults: Collection[str]) -> dict[str, dict[str, int]]:
        """Count the values of these faults of numbers, in one more pass if there are any."""
        found: dict[str, Counter[str]] = {fault: Counter() for fault in faults}
        for block in self._blocks() if faults else ():
            for fault, values in found.items():
                values += count_values(block.frame[_rows_with(fault, block.coded, judged)], fault)
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


def _rows_with(reason: str, block: CodedBlock, judged: _Judged) -> Mask:
    """Mark the rows that are skipped for a reason."""
    if reason in judged.faults:
        return np.isin(block.cells, judged.cells[judged.faults[reason]])
    left = np.isin(block.cells, judged.cells[judged.good])
    for fault, bad in block.bad_rows():
        if fault == reason:
            return left & bad
        left &= ~bad
    raise AssertionError(reason)


def _details(
    judged: _Judged, rows: Int64[np.ndarray, " cells"], models: Sequence[str] | None
) -> dict[str, dict[str, int]]:
    """Count the labels and models that were at fault."""
    found: dict[str, Counter[str]] = {}
    for reason in (UNKNOWN_WINNER, UNKNOWN_MODEL):
        if reason not in judged.faults:
            continue
        bad, counted = judged.faults[reason], found.setdefault(reason, Counter())
        battles = judged.battles
        for names in (battles.winner,) if reason == UNKNOWN_WINNER else (battles.model_a, battles.model_b):
            for code, count in zip(names.codes[bad], rows[bad], strict=True):
                counted[str(names.values[code])] += int(count)
        if reason == UNKNOWN_MODEL:
            found[reason] = Counter({name: count for name, count in counted.items() if name not in set(models or ())})
    return {reason: dict(counted) for reason, counted in found.items()}


def _check_winners(sums: CellSums, judged: _Judged) -> None:
    """Warn of soft votes that prefer another outcome to the winner of their row."""
    winner = judged.battles.winner.positions([outcome.value for outcome in OUTCOMES])
    cells = [judged.cells[judged.good & (winner == k)] for k in range(NUM_OUTCOMES)]
    other = sum(int(sums.of(f"{AGAINST} {k}")[of_winner].sum()) for k, of_winner in enumerate(cells))
    kept = judged.cells[judged.good]
    warn_of_other_winners(other, int((sums.of(HARD) + sums.of(SOFT))[kept].sum()))


def _counts(sums: CellSums, judged: _Judged, models: Sequence[str] | None) -> BattleCounts | DataError:
    """Sum the cells that hold votes to pairs of models."""
    used = judged.good & ((sums.of(HARD) + sums.of(SOFT))[judged.cells] > 0)
    if not used.any():
        return DataError("no vote is in it")
    cells, battles = judged.cells[used], judged.battles
    if models is None:
        sides = (battles.model_a, battles.model_b)
        models = sorted({str(side.values[code]) for side in sides for code in np.unique(side.codes[used])})
    pairs = Pairs.of(battles.model_a.positions(models)[used], battles.model_b.positions(models)[used], models)
    outcome = battles.winner.positions([outcome.value for outcome in OUTCOMES])[used]
    hard = sums.of(HARD)[cells]
    weight, squares = (sums.of(name)[cells] if name in sums.sums else hard for name in (WEIGHT, SQUARES))
    by_outcome = pairs.of_one_outcome(outcome, weight)
    moments = pairs.of_one_outcome(outcome, squares)[:, :, None] * np.eye(NUM_OUTCOMES)
    if SOFT in sums.sums:
        by_outcome += pairs.sums(np.stack([sums.of(str(k))[cells] for k in range(NUM_OUTCOMES)], axis=1))
        products = np.zeros((len(cells), NUM_OUTCOMES, NUM_OUTCOMES))
        for k, other in PRODUCTS:
            products[:, k, other] = products[:, other, k] = sums.of(f"{k} {other}")[cells]
        moments += pairs.moments(products)
    all_hard = SOFT not in sums.sums and bool((weight == hard).all() and (squares == hard).all())
    num_votes = int((hard + sums.of(SOFT)[cells]).sum())
    counts = pairs.counts(by_outcome, moments, num_votes, all_hard=all_hard)
    return counts if counts.weight.any() else DataError(NO_WEIGHT)
