"""Load the votes of a large table in blocks: arrays in memory, prompts in a file."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.adapters import adapt, battle_adapter, chosen_columns
from p2l.data.battle_table import BattleColumns, BattleTable, check_weight
from p2l.data.cell_doubts import CellDoubts
from p2l.data.column_meanings import warn_of_unread_columns
from p2l.data.prompt_cells import spells_lists
from p2l.data.prompt_column import PromptColumn
from p2l.data.readers import blocked_table, text_columns
from p2l.data.skip_report import REASONS, ROWS_SHOWN, SkipCounts, SkipReport, check_skipped
from p2l.data.stored_prompts import PromptWriter
from p2l.data.table_blocks import BlockedTable, TableBlock
from p2l.data.vote_table import REQUIRED_COLUMNS, VoteTable, report_votes
from p2l.data.winner_labels import WinnerMap, check_labels, has_scores
from p2l.errors import DataError
from p2l.winner import OUTCOMES

log = logging.getLogger(__name__)

_NOT_READ = ("response_a", "response_b")
_SHORT = 64  # characters of a value, on average, of a column of text that stays in memory
_LOOKED_AT = 1000
_OWN = ("prompt", "model_a", "model_b", "winner")


def large_table(source: str, split: str, columns: Mapping[str, str] | None) -> BlockedTable | None:
    """Return the table if it is large and can be read in blocks; not if its ``labels`` point into the whole table."""
    table = blocked_table(source, split, text=text_columns(columns))
    if table is None or not table.is_large:
        return None
    schema = chosen_columns(pd.DataFrame(columns=np.array(table.columns, dtype=object)), columns or {})
    return None if battle_adapter(schema.columns) is None else table


def load_large_votes(
    table: BlockedTable,
    folder: Path,
    *,
    models: Sequence[str] | None = None,
    max_skipped_share: float = 0.05,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
) -> tuple[VoteTable, SkipCounts]:
    """Read votes as ``load_votes`` does, in blocks; their prompts are written to a file in ``folder``.

    The table's ``frame`` has no prompts, and no columns of lists, dicts and long texts; these are logged.

    Raises:
        DataError: as ``load_votes``.
    """
    warn_of_unread_columns(table.columns, columns, table.source)
    scored = _has_scores(table, (columns or {}).get("winner", "winner"))
    writer = PromptWriter(folder)
    try:
        loader = _Loader(table, writer, models, dict(columns or {}), winner_map, scored)
        for block in table.blocks([name for name in table.columns if name not in _NOT_READ]):
            loader.add(block)
        loader.doubts.say()
        report = loader.report()
        check_skipped(report, max_skipped_share, table.source)
        check_labels(report, max_skipped_share, table.source)
        votes = loader.votes()
        check_weight(float(votes.weight.sum(dtype=np.float64)), table.source)
        return votes, report
    finally:
        writer.discard()


def in_memory(votes: VoteTable) -> VoteTable:
    """Return the votes with their prompts in memory, and a frame that has all columns of a vote table."""
    prompts = tuple(votes.prompts)
    texts = np.empty(len(prompts), dtype=object)
    texts[:] = [list(turns) if len(turns) > 1 else turns[0] for turns in prompts]
    names = {name: votes.frame[name].astype(object) for name in _OWN[1:]}
    return replace(votes, prompts=prompts, frame=votes.frame.assign(prompt=texts[votes.prompt_index], **names))


def _has_scores(table: BlockedTable, winner: str) -> bool:
    """Whether a label of the table is the score of a tie, so that 1 and 0 are scores too."""
    if winner not in table.columns:
        return False
    return any(has_scores(block.frame[winner]) for block in table.blocks([winner], coded=[winner]))


@dataclass
class _Loader:
    table: BlockedTable
    writer: PromptWriter
    models: Sequence[str] | None
    columns: dict[str, str]
    winner_map: WinnerMap | None
    scored: bool
    listed: bool | None = None  # whether the texts of prompts spell lists, as the first ones say
    known: dict[str, int] = field(default_factory=dict)
    battles: list[BattleTable] = field(default_factory=list)
    prompts: list[Int64[np.ndarray, " votes"]] = field(default_factory=list)
    frames: list[pd.DataFrame] = field(default_factory=list)
    left_out: set[str] | None = None
    doubts: CellDoubts = field(default_factory=CellDoubts)
    skips: "SkipTotals" = field(default_factory=lambda: SkipTotals())

    def add(self, block: TableBlock) -> None:
        """Check the rows of a block, and keep the votes."""
        first = f"{block.first_row} of {block.file}"
        of_file = f" of {block.file}" if len(self.table.files) > 1 else ""
        self.doubts.place = lambda row: f"{row + block.first_row}{of_file}"
        prompt = self.columns.get("prompt", "prompt")
        if self.listed is None and prompt in block.frame.columns:
            self.listed = spells_lists(block.frame[prompt])
        try:
            frame = adapt(
                block.frame,
                columns=self.columns,
                winner_map=self.winner_map,
                scored=self.scored,
                listed=self.listed,
                source=self.table.source,
                doubts=self.doubts,
            )
            battles = BattleColumns.of(frame, self.table.source, REQUIRED_COLUMNS)
        except DataError as error:
            raise DataError(f"{error} (in the rows from row {first})") from None
        prompts = PromptColumn.of(frame["prompt"])
        report = report_votes(frame["prompt"], prompts, battles, self.models)
        self.skips.add(report, block.first_row, block.file if len(self.table.files) > 1 else None)
        if not report.kept:
            return
        rows = report.kept_rows()
        index, turns = prompts.select(rows)
        self.prompts.append(index + self.writer.num_written)
        self.writer.add(turns)
        self.battles.append(self._numbered(battles.table(rows, self.models)))
        battles.add_doubts(self.doubts, rows)
        winner = battles.winner.positions([outcome.value for outcome in OUTCOMES])
        self.frames.append(self._kept_columns(frame, winner).iloc[rows])

    def report(self) -> SkipCounts:
        if not self.skips.total:
            raise DataError(f"{self.table.source} holds no rows")
        return self.skips.report()

    def votes(self) -> VoteTable:
        """Return all votes, once the last block is added."""
        stored, place = self.writer.finish()
        models = tuple(self.models) if self.models is not None else tuple(sorted(self.known))
        position = np.arange(len(models)) if self.models is not None else _places(list(self.known), models)
        a, b = (position[np.concatenate([getattr(t, side) for t in self.battles])] for side in ("model_a", "model_b"))
        frame = pd.concat(self.frames, ignore_index=True)
        coded = {
            "model_a": pd.Categorical.from_codes(a, models),
            "model_b": pd.Categorical.from_codes(b, models),
            "winner": pd.Categorical.from_codes(frame.pop("winner"), [outcome.value for outcome in OUTCOMES]),
        }
        return VoteTable(
            prompts=stored,
            prompt_index=place[np.concatenate(self.prompts)],
            model_a=a,
            model_b=b,
            outcome_shares=np.concatenate([table.outcome_shares for table in self.battles]),
            weight=np.concatenate([table.weight for table in self.battles]),
            models=models,
            frame=frame.assign(**coded),
        )

    def _numbered(self, battles: BattleTable) -> BattleTable:
        """Number the models as they appear in the table, if they are not given."""
        if self.models is not None:
            return battles
        codes = np.array([self.known.setdefault(name, len(self.known)) for name in battles.models], dtype=np.int64)
        return replace(battles, model_a=codes[battles.model_a], model_b=codes[battles.model_b])

    def _kept_columns(self, frame: pd.DataFrame, winner: Int64[np.ndarray, " votes"]) -> pd.DataFrame:
        """Return the columns that stay in memory, and the number of the winner's outcome."""
        if self.left_out is None:
            self.left_out = {str(name) for name in frame.columns if name not in _OWN and _is_long(frame[name])}
            if self.left_out:
                log.info("%s: not kept in memory: columns %s", self.table.source, ", ".join(sorted(self.left_out)))
        frame = frame.drop(columns=[name for name in (*_OWN, *self.left_out) if name in frame.columns])
        return frame.assign(winner=winner.astype(np.int8))


@dataclass
class SkipTotals:
    """The rows that blocks skipped, by reason: their number, the first of them, and the values at fault."""

    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first_rows: dict[str, list[str]] = field(default_factory=dict)
    details: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, report: SkipReport, first_row: int, file: str | None) -> None:
        """Add the report of a block; ``file`` is named if the table has several."""
        self.total += report.total
        for reason, rows in report.skipped.items():
            self.counts[reason] += len(rows)
            shown = self.first_rows.setdefault(reason, [])
            places = [f"{row + first_row}{f' of {file}' if file else ''}" for row in rows[: ROWS_SHOWN - len(shown)]]
            shown += places
        for reason, values in report.details.items():
            self.details.setdefault(reason, Counter()).update(values)

    def report(self) -> SkipCounts:
        """Return the report of the whole table, reasons in the order of the checks."""
        counts = {reason: self.counts[reason] for reason in REASONS if self.counts[reason]}
        details = {reason: dict(values) for reason, values in self.details.items()}
        return SkipCounts(self.total, self.total - sum(counts.values()), counts, self.first_rows, details)


def _places(names: Sequence[str], models: Sequence[str]) -> Int64[np.ndarray, " names"]:
    position = {name: place for place, name in enumerate(models)}
    return np.array([position[name] for name in names], dtype=np.int64)


def _is_long(column: pd.Series) -> bool:
    """Whether the values are lists, dicts or long texts."""
    values = column.head(_LOOKED_AT).dropna().tolist()
    if any(isinstance(value, (list, tuple, dict, np.ndarray)) for value in values):
        return True
    texts = [value for value in values if isinstance(value, str)]
    return bool(texts) and sum(map(len, texts)) > _SHORT * len(texts)
