"""Votes without their prompts: which two models met and how it ended, as arrays; all that one leaderboard needs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from p2l.data.adapters import SOFT_COLUMNS, adapt
from p2l.data.readers import read_table
from p2l.errors import DataError
from p2l.types import OUTCOMES

BATTLE_COLUMNS = ("model_a", "model_b", "winner")

MISSING_VALUE = "missing value"
SAME_MODEL = "model against itself"
UNKNOWN_WINNER = "unknown winner"
UNKNOWN_MODEL = "unknown model"
BAD_WEIGHT = "bad weight"
BAD_SOFT_VOTE = "bad soft vote"

Mask = Bool[np.ndarray, " votes"]
_ROWS_SHOWN = 5
_SOFT_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SkipReport:
    """Which rows of a table were left out: the reason, and the rows' positions in the file, from 0.

    A row bad in several ways is listed once, under the first reason it was checked for.
    """

    total: int
    kept: int
    skipped: dict[str, list[int]]

    @property
    def share(self) -> float:
        """The skipped share of all rows, in [0, 1]."""
        return (self.total - self.kept) / self.total if self.total else 0.0

    def kept_rows(self) -> Int64[np.ndarray, " kept"]:
        """The positions of the rows that stayed."""
        return np.delete(np.arange(self.total), [row for rows in self.skipped.values() for row in rows])

    def __str__(self) -> str:
        head = f"{self.total:,} rows, {self.kept:,} kept, {self.total - self.kept:,} skipped ({self.share:.2%})"
        return "\n".join([head, *(f"  {reason}: {_rows_text(rows)}" for reason, rows in self.skipped.items())])


def _rows_text(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    return f"{len(rows):,} (row {shown}{', ...' if len(rows) > _ROWS_SHOWN else ''})"


@dataclass(frozen=True, eq=False)
class BattleTable:
    """Votes as arrays, without prompts: for statistics that need none.

    ``model_a`` and ``model_b`` point into ``models``; ``outcome_shares`` is each vote as a distribution over
    ``p2l.types.OUTCOMES`` (one-hot for a hard vote).
    """

    model_a: Int64[np.ndarray, " votes"]
    model_b: Int64[np.ndarray, " votes"]
    outcome_shares: Float32[np.ndarray, "votes 4"]
    weight: Float32[np.ndarray, " votes"]
    models: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.model_a)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, models: Sequence[str] | None = None) -> "BattleTable":
        """The table of rows that are all battles; ``models`` as in ``load_battles``."""
        table, _ = load_battles(frame, models=models, max_skipped_share=0.0)
        return table

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "BattleTable":
        """The votes at these positions, in this order; ``models`` stay as they are."""
        return BattleTable(
            self.model_a[rows], self.model_b[rows], self.outcome_shares[rows], self.weight[rows], self.models
        )


def load_battles(
    source: pd.DataFrame | str, *, models: Sequence[str] | None = None, max_skipped_share: float = 0.05
) -> tuple[BattleTable, SkipReport]:
    """The battles of a DataFrame, file, folder or hub dataset, which needs no prompts: model_a, model_b and winner.

    ``weight`` and soft votes are read where they are there, and rows that are no battles are counted, as in
    ``p2l.data.load_votes``. ``models``: the list of a trained model, in its order; else the table's own, sorted.
    Raises ``DataError`` where columns are missing, more than ``max_skipped_share`` of the rows are no battles, or all.
    """
    name = source if isinstance(source, str) else "the vote table"
    frame = adapt(read_table(source) if isinstance(source, str) else source)
    columns = BattleColumns.of(frame, name)
    report = skip_report(columns.bad_rows(models), len(frame))
    check_share(report, max_skipped_share, name)
    return columns.table(report.kept_rows() if report.skipped else slice(None), models), report


@dataclass(frozen=True)
class Names:
    """A column of strings by the few distinct ones: row i holds ``values[codes[i]]``; None stands for no name."""

    codes: Int64[np.ndarray, " votes"]
    values: list[str | None]

    @classmethod
    def of(cls, column: pd.Series) -> "Names":
        codes, uniques = factorize(column)
        return cls(codes, [_name(value) for value in uniques])

    def positions(self, of: Sequence[str]) -> Int64[np.ndarray, " votes"]:
        """Each row's position in a list of unique strings, -1 where it is not in it."""
        position = {value: index for index, value in enumerate(of)}
        places = [-1 if value is None else position.get(value, -1) for value in self.values]
        return np.array(places, dtype=np.int64)[self.codes]

    def missing(self) -> Mask:
        return np.array([value is None for value in self.values], dtype=bool)[self.codes]


def factorize(column: pd.Series) -> tuple[Int64[np.ndarray, " votes"], list[Any]]:
    """Each row's position among the distinct values, and those; a missing value, a list and a dict are values too."""
    try:
        codes, uniques = pd.factorize(column, use_na_sentinel=False)
    except TypeError:  # not hashable
        codes, uniques = pd.factorize(column.map(_hashable), use_na_sentinel=False)
    return codes.astype(np.int64, copy=False), list(uniques)


def _hashable(value: object) -> Hashable:
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(_hashable, value))
    return value if isinstance(value, Hashable) else repr(value)


def _name(value: object) -> str | None:
    return None if pd.isna(value) is True or not str(value).strip() else str(value)


@dataclass(frozen=True)
class BattleColumns:
    """The columns of a table that describe its battles, before they are known to be good."""

    model_a: Names
    model_b: Names
    winner: Names
    weight: Float64[np.ndarray, " votes"] | None
    soft: Float64[np.ndarray, "votes 4"] | None

    @classmethod
    def of(cls, frame: pd.DataFrame, source: str, needed: Sequence[str] = BATTLE_COLUMNS) -> "BattleColumns":
        """Raises ``DataError``, naming ``source``, where one of the ``needed`` columns is not there."""
        _check_columns(frame, needed, source)
        return cls(
            model_a=Names.of(frame["model_a"]),
            model_b=Names.of(frame["model_b"]),
            winner=Names.of(frame["winner"]),
            weight=_numbers(frame["weight"]) if "weight" in frame.columns else None,
            soft=_soft_votes(frame),
        )

    def bad_rows(self, models: Sequence[str] | None) -> dict[str, Mask]:
        """For each reason to skip a row, in order of precedence, the rows it holds for."""
        a, b = self.model_a, self.model_b
        none = np.zeros(len(a.codes), dtype=bool)
        own = self._own_models()
        return {
            MISSING_VALUE: a.missing() | b.missing() | self.winner.missing(),
            SAME_MODEL: a.positions(own) == b.positions(own),
            UNKNOWN_WINNER: self._winner_index() < 0,
            UNKNOWN_MODEL: none if models is None else (a.positions(models) < 0) | (b.positions(models) < 0),
            BAD_WEIGHT: none if self.weight is None else ~((self.weight >= 0) & (self.weight <= _LARGEST)),
            BAD_SOFT_VOTE: none if self.soft is None else _is_bad_soft_vote(self.soft),
        }

    def table(self, rows: Any, models: Sequence[str] | None) -> BattleTable:
        """The battles of the rows that are known to be good; ``models`` default to their own, sorted."""
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
            outcome_shares=self._outcome_shares()[rows],
            weight=weight[rows].astype(np.float32),
            models=tuple(models),
        )

    def _own_models(self) -> list[str]:
        return sorted({name for name in (*self.model_a.values, *self.model_b.values) if name is not None})

    def _winner_index(self) -> Int64[np.ndarray, " votes"]:
        return self.winner.positions([outcome.value for outcome in OUTCOMES])

    def _outcome_shares(self) -> Float32[np.ndarray, "votes 4"]:
        hard = np.eye(len(OUTCOMES), dtype=np.float32)[self._winner_index()]
        if self.soft is None:
            return hard
        soft = self.soft / self.soft.sum(axis=1, keepdims=True)
        return np.where(np.isnan(self.soft), hard, soft).astype(np.float32)


_LARGEST = np.finfo(np.float32).max


def skip_report(bad_rows: dict[str, Mask], total: int) -> SkipReport:
    """Each bad row under the first of its reasons."""
    skip = np.zeros(total, dtype=bool)
    skipped = {}
    for reason, bad in bad_rows.items():
        rows = np.flatnonzero(bad & ~skip)
        skip |= bad
        if rows.size:
            skipped[reason] = rows.tolist()
    return SkipReport(total=total, kept=int(total - skip.sum()), skipped=skipped)


def check_share(report: SkipReport, max_skipped_share: float, source: str) -> None:
    """``DataError``, naming ``source``, where too many rows are no votes, or all."""
    if report.kept == 0 or report.share > max_skipped_share:
        problem = f"more than {max_skipped_share:.2%} of the rows are no votes" if report.kept else "no row is a vote"
        raise DataError(f"{source}: {problem}\n{report}")


def _check_columns(frame: pd.DataFrame, needed: Sequence[str], source: str) -> None:
    needed = (*needed, *(SOFT_COLUMNS if set(SOFT_COLUMNS) & set(frame.columns) else ()))
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise DataError(
            f"{source} has no column {', '.join(missing)}; a vote table needs {', '.join(needed)}. "
            f"It has: {', '.join(map(str, frame.columns))}"
        )


def _numbers(column: pd.Series) -> Float64[np.ndarray, " votes"]:
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _soft_votes(frame: pd.DataFrame) -> Float64[np.ndarray, "votes 4"] | None:
    """The soft votes, in the order of ``OUTCOMES``; a row of NaN is a hard vote."""
    if SOFT_COLUMNS[0] not in frame.columns:
        return None
    return np.stack([_numbers(frame[column]) for column in SOFT_COLUMNS], axis=1)


def _is_bad_soft_vote(soft: Float64[np.ndarray, "votes 4"]) -> Mask:
    hard = np.isnan(soft).all(axis=1)
    distribution = (soft >= 0).all(axis=1) & (np.abs(soft.sum(axis=1) - 1) <= _SOFT_SUM_TOLERANCE)
    return ~(hard | distribution)
