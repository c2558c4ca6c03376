"""Votes without their prompts: which two models met and who won, as arrays. One leaderboard needs no more."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from p2l.data.adapters import SOFT_COLUMNS
from p2l.data.cell_doubts import CellDoubts, DoubtfulCells, said_at_end
from p2l.data.column_advice import advise_columns
from p2l.data.column_values import Names, check_names, numbers
from p2l.data.readers import TableSource, source_name
from p2l.data.skip_report import (
    BAD_SOFT_VOTE,
    BAD_WEIGHT,
    MISSING_VALUE,
    SAME_MODEL,
    UNKNOWN_MODEL,
    UNKNOWN_WINNER,
    Mask,
    SkipReport,
    check_skipped,
    skip_report,
)
from p2l.data.vote_frame import read_vote_frame
from p2l.data.winner_labels import WinnerMap, check_labels
from p2l.errors import DataError
from p2l.winner import OUTCOMES, Outcome

BATTLE_COLUMNS = ("model_a", "model_b", "winner")

NUMBERS = {BAD_WEIGHT: ("weight",), BAD_SOFT_VOTE: SOFT_COLUMNS}  # the columns of each fault of numbers
NO_WEIGHT = "all votes have weight 0, so that they tell nothing; expected some above 0"
_SOFT_SUM_TOLERANCE = 1e-3
_TIE = OUTCOMES.index(Outcome.TIE)
_LARGEST_WEIGHT = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False, repr=False)
class BattleTable:
    """Votes as arrays, without prompts: for statistics that need none.

    ``model_a`` and ``model_b`` are positions in ``models``; ``outcome_shares`` is each vote as a distribution over
    ``p2l.winner.OUTCOMES`` (one-hot for a hard vote).
    """

    model_a: Int64[np.ndarray, " votes"]
    model_b: Int64[np.ndarray, " votes"]
    outcome_shares: Float32[np.ndarray, "votes 4"]
    weight: Float32[np.ndarray, " votes"]
    models: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.model_a)

    def __repr__(self) -> str:
        return f"BattleTable({len(self):,} votes, {len(self.models):,} models)"

    @property
    def is_hard(self) -> bool:
        """Whether every vote has one outcome and weight 1."""
        return bool((self.outcome_shares.max(axis=1, initial=0) == 1).all() and (self.weight == 1).all())

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, models: Sequence[str] | None = None) -> "BattleTable":
        """Convert rows that are all valid battles; ``models`` as in ``load_battles``."""
        table, _ = load_battles(frame, models=models, max_skipped_share=0.0)
        return table

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "BattleTable":
        """Return the votes at these positions, in this order, with the same ``models``."""
        return BattleTable(
            self.model_a[rows], self.model_b[rows], self.outcome_shares[rows], self.weight[rows], self.models
        )

    def of_rows(self, rows: Int64[np.ndarray, " selected"]) -> "BattleTable":
        """Return the votes at these positions, with the models that have votes among them."""
        chosen = self.select(rows)
        used = np.unique(np.concatenate([chosen.model_a, chosen.model_b]))
        models = tuple(self.models[model] for model in used)
        a, b = (np.searchsorted(used, side) for side in (chosen.model_a, chosen.model_b))
        return replace(chosen, model_a=a, model_b=b, models=models)


@dataclass(frozen=True, eq=False)
class CheckedBattles:
    """Votes of a table that was read and checked, and its columns: a row for each vote."""

    battles: BattleTable
    frame: pd.DataFrame


def load_battles(
    source: TableSource,
    *,
    models: Sequence[str] | None = None,
    max_skipped_share: float = 0.05,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
) -> tuple[BattleTable, SkipReport]:
    """Read votes that need no prompts: the columns model_a, model_b and winner of any table ``read_table`` takes.

    Reads ``weight`` and soft votes if present, and counts invalid rows, as ``p2l.data.load_votes`` does. ``models`` is
    the list of a trained model, in its order; by default the models of the table, sorted. ``columns`` and
    ``winner_map`` as in ``p2l.data.load_votes``.

    Raises:
        DataError: a winner's label is unknown, columns are missing, more than ``max_skipped_share`` of the rows are
            invalid, or all are.
    """
    frame = read_vote_frame(source, columns=columns, winner_map=winner_map, prompts=False)
    return convert_battles(frame, source_name(source), models, max_skipped_share)


def convert_battles(
    frame: pd.DataFrame, source: str, models: Sequence[str] | None, max_skipped_share: float
) -> tuple[BattleTable, SkipReport]:
    """Validate and convert the columns of a vote table, which ``read_vote_frame`` returns; see ``load_battles``."""
    battles = BattleColumns.of(frame, source)
    report = battles.explain(skip_report(battles.bad_rows(models), len(frame)), models)
    check_skipped(report, max_skipped_share, source)
    check_labels(report, max_skipped_share, source)
    table = battles.table(report.kept_rows() if report.skipped else slice(None), models)
    with said_at_end(None) as doubts:
        battles.add_doubts(doubts, report.kept_rows())
    check_weight(float(table.weight.sum(dtype=np.float64)), source)
    return table, report


@dataclass(frozen=True)
class BattleColumns:
    """The columns of a table that describe its battles, before validation."""

    model_a: Names
    model_b: Names
    winner: Names
    weight: Float64[np.ndarray, " votes"] | None
    soft: Float64[np.ndarray, "votes 4"] | None
    written: pd.DataFrame  # weight and soft votes as the table has them

    @classmethod
    def of(cls, frame: pd.DataFrame, source: str, needed: Sequence[str] = BATTLE_COLUMNS) -> "BattleColumns":
        """Read the columns; raises ``DataError`` if one of ``needed`` is missing, or a list stands for a name."""
        check_columns(frame.columns, needed, source)
        for side in ("model_a", "model_b"):
            check_names(frame[side])
        return cls(
            model_a=Names.of(frame["model_a"]),
            model_b=Names.of(frame["model_b"]),
            winner=Names.of(frame["winner"]),
            weight=numbers(frame["weight"]) if "weight" in frame.columns else None,
            soft=soft_votes(frame),
            written=frame[[name for name in ("weight", *SOFT_COLUMNS) if name in frame.columns]],
        )

    def bad_rows(self, models: Sequence[str] | None) -> dict[str, Mask]:
        """Mark the rows with each fault; the faults are in order of precedence."""
        a, b = self.model_a, self.model_b
        none = np.zeros(len(a.codes), dtype=bool)
        own = self._own_models()
        return {
            MISSING_VALUE: a.missing() | b.missing() | self.winner.missing(),
            SAME_MODEL: a.positions(own) == b.positions(own),
            UNKNOWN_WINNER: self._winner_index() < 0,
            UNKNOWN_MODEL: none if models is None else (a.positions(models) < 0) | (b.positions(models) < 0),
            BAD_WEIGHT: none if self.weight is None else is_bad_weight(self.weight),
            BAD_SOFT_VOTE: none if self.soft is None else is_bad_soft_vote(self.soft),
        }

    def explain(self, report: SkipReport, models: Sequence[str] | None) -> SkipReport:
        """Add what is at fault to a report, with its counts: columns, labels, models, weights and soft votes."""
        details = {}
        if rows := report.skipped.get(MISSING_VALUE):
            details[MISSING_VALUE] = self.missing_by_column(np.bincount(rows, minlength=report.total))
        for reason in NUMBERS:
            if rows := report.skipped.get(reason):
                details[reason] = count_values(self.written.iloc[rows], reason)
        if rows := report.skipped.get(UNKNOWN_WINNER):
            details[UNKNOWN_WINNER] = Counter(str(self.winner.values[code]) for code in self.winner.codes[rows])
        if rows := report.skipped.get(UNKNOWN_MODEL):
            named = (side.values[code] for side in (self.model_a, self.model_b) for code in side.codes[rows])
            details[UNKNOWN_MODEL] = Counter(str(name) for name in named if name not in set(models or ()))
        return replace(report, details={reason: dict(+counts) for reason, counts in details.items()})

    def missing_by_column(self, counts: Int64[np.ndarray, " votes"]) -> Counter[str]:
        """Count the missing values of each column, each row ``counts`` times."""
        columns = {"model_a": self.model_a, "model_b": self.model_b, "winner": self.winner}
        return Counter({name: int(counts[column.missing()].sum()) for name, column in columns.items()})

    def table(self, rows: Any, models: Sequence[str] | None) -> BattleTable:
        """Convert rows that passed validation; ``models`` default to those of the rows, sorted."""
        if models is None:
            own = self._own_models()
            counts = sum(
                np.bincount(side.positions(own)[rows], minlength=len(own)) for side in (self.model_a, self.model_b)
            )
            models = [own[index] for index in np.flatnonzero(counts)]
        weight = np.ones(len(self.winner.codes)) if self.weight is None else self.weight
        return BattleTable(
            model_a=self.model_a.positions(models)[rows],
            model_b=self.model_b.positions(models)[rows],
            outcome_shares=self._outcome_shares(rows),
            weight=weight[rows].astype(np.float32),
            models=tuple(models),
        )

    def add_doubts(self, doubts: CellDoubts, rows: Int64[np.ndarray, " valid"]) -> None:
        """Add the valid ``rows`` whose soft vote prefers another outcome to their winner."""
        if self.soft is None:
            return
        soft, winner = self.soft, self._winner_index()
        other = rows[less_probable(soft[rows])[np.arange(len(rows)), winner[rows]]]
        doubts.add(other_winners, "", other.tolist(), len(rows), lambda row: _shown_vote(soft[row], int(winner[row])))

    def _own_models(self) -> list[str]:
        return sorted({name for name in (*self.model_a.values, *self.model_b.values) if name is not None})

    def _winner_index(self) -> Int64[np.ndarray, " votes"]:
        return self.winner.positions([outcome.value for outcome in OUTCOMES])

    def _outcome_shares(self, rows: Any) -> Float32[np.ndarray, "selected 4"]:
        hard = np.eye(len(OUTCOMES), dtype=np.float32)[self._winner_index()[rows]]
        if self.soft is None:
            return hard
        soft = self.soft[rows]
        return np.where(np.isnan(soft), hard, shares_of_soft_votes(soft)).astype(np.float32)


def count_values(frame: pd.DataFrame, reason: str) -> Counter[str]:
    """Count the weights or soft votes of rows that are at fault, as the table has them; "missing" for a gap."""
    rows = frame[list(NUMBERS[reason])].itertuples(index=False)
    return Counter(", ".join("missing" if pd.isna(value) is True else str(value) for value in row) for row in rows)


def check_weight(total: float, source: str) -> None:
    """Raise ``DataError``, naming ``source``, if votes have no weight in total."""
    if not total:
        raise DataError(f"{source}: {NO_WEIGHT}")


def less_probable(soft: Float64[np.ndarray, "votes 4"]) -> Bool[np.ndarray, "votes 4"]:
    """Mark the outcomes of soft votes to which another one is preferred; a tie also stands for equal chances."""
    less = soft.max(axis=1, keepdims=True) > soft + _SOFT_SUM_TOLERANCE
    less[:, _TIE] &= np.abs(soft[:, 0] - soft[:, 1]) > _SOFT_SUM_TOLERANCE
    return less


def other_winners(cells: DoubtfulCells) -> str:
    """Say how many soft votes prefer another outcome to the winner of their row."""
    example = f", such as {cells.shown}" if cells.shown else ""
    return (
        f"{cells.count} of {cells.of} votes name a winner that is not the most probable outcome of their soft "
        f"vote{example}; the soft votes are used"
    )


def _shown_vote(soft: Float64[np.ndarray, " 4"], winner: int) -> str:
    shares = ", ".join(f"{name} {share:g}" for name, share in zip(SOFT_COLUMNS, soft, strict=True))
    return f"{OUTCOMES[winner].value} with {shares}"


def check_columns(columns: Collection[str], needed: Sequence[str], source: str) -> None:
    """Raise ``DataError``, naming ``source``, if a column is missing."""
    needed = (*needed, *(SOFT_COLUMNS if set(SOFT_COLUMNS) & set(columns) else ()))
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"{source} has no column {', '.join(missing)}; a vote table needs {', '.join(needed)}. "
            f"It has: {', '.join(map(str, columns))}. {advise_columns(missing, list(map(str, columns)))}"
        )


def soft_votes(frame: pd.DataFrame) -> Float64[np.ndarray, "votes 4"] | None:
    """Return the soft votes in the order of ``OUTCOMES``; a row of NaN is a hard vote."""
    if SOFT_COLUMNS[0] not in frame.columns:
        return None
    return np.stack([numbers(frame[column]) for column in SOFT_COLUMNS], axis=1)


def shares_of_soft_votes(soft: Float64[np.ndarray, "votes 4"]) -> Float32[np.ndarray, "votes 4"]:
    """Return soft votes with sum 1."""
    return (soft / soft.sum(axis=1, keepdims=True)).astype(np.float32)


def is_bad_weight(weight: Float64[np.ndarray, " votes"]) -> Mask:
    """Mark weights that are negative, not finite as float32, or missing."""
    return ~((weight >= 0) & (weight <= _LARGEST_WEIGHT))


def is_bad_soft_vote(soft: Float64[np.ndarray, "votes 4"]) -> Mask:
    """Mark soft votes that are not a distribution; four missing values are a hard vote."""
    hard = np.isnan(soft).all(axis=1)
    distribution = (soft >= 0).all(axis=1) & (np.abs(soft.sum(axis=1) - 1) <= _SOFT_SUM_TOLERANCE)
    return ~(hard | distribution)
