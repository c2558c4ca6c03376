"""Read tables of votes as training would, and collect what they hold, what is doubtful, and every error."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import pandas as pd

from p2l.data.adapters import adapt
from p2l.data.column_meanings import unread_columns
from p2l.data.column_values import factorize
from p2l.data.prompt_overlap import PromptOverlap
from p2l.data.skip_report import SkipReport, check_skipped
from p2l.data.splits import SplitBy, chosen_split, conversations, order_of_file, split_votes
from p2l.data.table_summary import CountTokens, TableSummary, summarise
from p2l.data.vote_checks import held_out_doubts, repeat_doubts, split_doubts, table_doubts, untrained_models
from p2l.data.vote_frame import read_named
from p2l.data.vote_table import VoteTable, convert_votes
from p2l.data.winner_labels import WinnerMap, check_labels
from p2l.errors import DataError
from p2l.winner import OUTCOMES

_ROWS_SHOWN = 5
_OUTCOMES = {outcome.value for outcome in OUTCOMES}


@dataclass(frozen=True)
class Label:
    """A label of the column ``winner`` as the table spells it, how it is read (None: not at all), and its rows."""

    label: str
    outcome: str | None
    rows: int


@dataclass(frozen=True)
class TableReport:
    """A table as it was read; ``summary`` is that of its valid votes."""

    source: str
    skips: SkipReport
    labels: tuple[Label, ...]
    summary: TableSummary


@dataclass(frozen=True)
class SplitPreview:
    """What a way to hold out votes would do; ``untrained`` are models that would have no training vote."""

    by: str
    train: int
    held_out: int
    overlap: PromptOverlap
    untrained: tuple[str, ...]


@dataclass
class Validation:
    """What is known of the tables by name, of ways to split the votes, doubts, and errors that would stop training.

    ``chosen`` is the way that ``split_by`` picks; ``overlaps`` are those of tables of their own.
    """

    tables: dict[str, TableReport] = field(default_factory=dict)
    overlaps: dict[str, PromptOverlap] = field(default_factory=dict)
    splits: list[SplitPreview] = field(default_factory=list)
    chosen: str | None = None
    doubts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON holds it."""
        tables = {}
        for name, table in self.tables.items():
            skips = table.skips
            skipped = {
                reason: {"count": len(rows), "first_rows": rows[:_ROWS_SHOWN], "values": skips.details.get(reason, {})}
                for reason, rows in skips.skipped.items()
            }
            head = {"source": table.source, "rows": skips.total, "kept": skips.kept, "skipped": skipped}
            tables[name] = {**head, "labels": [asdict(label) for label in table.labels], **asdict(table.summary)}
        rest = {"overlaps": self.overlaps, "splits": self.splits}
        plain = {name: asdict(self)[name] for name in rest}
        return {"tables": tables, **plain, "split_by": self.chosen, "doubts": self.doubts, "errors": self.errors}


@dataclass(frozen=True)
class Validator:
    """Options of the validation, as of ``p2l.data.FileVotes``; ``count_tokens`` as in ``summarise``."""

    val_share: float
    split_by: SplitBy
    max_skipped_share: float
    columns: Mapping[str, str] | None
    winner_map: WinnerMap | None
    seed: int
    count_tokens: CountTokens | None

    def validate(self, sources: Mapping[str, tuple[str, str]]) -> Validation:
        """Read each table (name: source and split; the first is trained on), and say what it holds."""
        found = Validation()
        tables: dict[str, VoteTable] = {}
        models: Sequence[str] | None = None
        for name, (source, split) in sources.items():
            table = self._read(found, name, source, split, models)
            if table is None and not tables:
                return found
            if table is not None:
                tables[name] = table
                models = models or table.models
        trained, *others = tables
        found.doubts += table_doubts(trained, tables[trained])
        for name in others:
            found.doubts += repeat_doubts(name, found.tables[name].summary.duplicates, len(tables[name]))
        found.overlaps = {name: PromptOverlap.of(tables[trained], tables[name]) for name in others}
        if len(sources) > 1:
            found.doubts += split_doubts({"train": tables[trained], **{name: tables[name] for name in others}})
        if "val" not in sources and self.val_share > 0:
            self._preview(found, tables[trained])
        return found

    def _read(
        self, found: Validation, name: str, source: str, split: str, models: Sequence[str] | None
    ) -> VoteTable | None:
        try:
            raw = read_named(source, split, self.columns)
            adapted = adapt(raw, columns=self.columns, winner_map=self.winner_map, source=source)
            table, skips = convert_votes(adapted, source, models, max_skipped_share=1.0)
            check_labels(skips, 1.0, source)
        except DataError as error:
            where = name if source in str(error) else f"{name}: {source}"
            found.errors.append(f"{where}: {error}")
            return None
        found.errors += _message_of(lambda: check_labels(skips, self.max_skipped_share, source))
        found.errors += _message_of(lambda: check_skipped(skips, self.max_skipped_share, source))
        winner = (self.columns or {}).get("winner", "winner")
        labels = _labels(raw[winner], adapted["winner"]) if winner in raw.columns else ()
        found.tables[name] = TableReport(source, skips, labels, summarise(table, self.count_tokens))
        found.doubts += _own_doubts(name, found.tables[name].summary)
        found.doubts += (f"{name}: {doubt}" for doubt in unread_columns(raw.columns, self.columns))
        return table

    def _preview(self, found: Validation, table: VoteTable) -> None:
        """Compare the ways to hold out votes; that the chosen one is not possible would stop training."""
        impossible: dict[str, str] = {}
        for by in get_args(SplitBy)[1:]:
            try:
                train, held_out = split_votes(table, self.val_share, by, self.seed)
            except DataError as error:
                impossible[by] = str(error)
                continue
            untrained = untrained_models(train, held_out)
            overlap = PromptOverlap.of(train, held_out)
            found.splits.append(SplitPreview(by, len(train), len(held_out), overlap, tuple(untrained)))
        by = "time" if self.split_by == "auto" and "time" in impossible else self.split_by
        found.chosen = chosen_split(table, self.val_share) if by == "auto" else by
        if found.chosen in impossible:
            others = " or ".join(f"split_by={split.by}" for split in found.splits)
            advice = f"; {others} is possible" if others else ""
            found.errors.append(f"split by {found.chosen}: {impossible[found.chosen]}{advice}")
        if found.chosen == "time" and (order := order_of_file(table.frame)):
            found.doubts.append(f"split by time: {order}")
        for split in found.splits:
            if split.by == found.chosen:
                found.doubts += held_out_doubts(f"split by {split.by}", split.overlap, split.untrained)
        if found.chosen == "conversation" and found.chosen not in impossible:
            found.doubts += filter(None, [conversations(table).largest_doubt()])


def _message_of(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except DataError as error:
        yield str(error)


def _labels(raw: pd.Series, read: pd.Series) -> tuple[Label, ...]:
    codes, labels = factorize(raw)
    outcomes, values = factorize(read)
    counts = Counter(zip(codes.tolist(), outcomes.tolist(), strict=True))
    known = [value if value in _OUTCOMES else None for value in values]
    return tuple(Label(_shown(labels[code]), known[outcome], rows) for (code, outcome), rows in counts.most_common())


def _shown(label: object) -> str:
    return "missing" if label is None or pd.isna(label) is True else str(label)


def _own_doubts(name: str, summary: TableSummary) -> Iterator[str]:
    if summary.time_problem:
        yield f"{name}: {summary.time_problem}"
