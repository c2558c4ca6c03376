"""Sums over votes by model a, model b and label of the winner: all that the checks of a table need of its names.

Names and labels are numbered as they appear, and every vote adds to one cell. What a label means may depend on the rest
of the table (1 and 0 are scores beside 0.5), so that cells are judged when all of them are known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from p2l.data.battle_counts import NeedsEachVoteError
from p2l.data.battle_table import is_bad_soft_vote, is_bad_weight, less_probable, shares_of_soft_votes, soft_votes
from p2l.data.column_values import check_names, factorize, numbers, text_of
from p2l.data.skip_report import BAD_SOFT_VOTE, BAD_WEIGHT, Mask

MOST_CELLS = 1 << 26
HARD, SOFT, WEIGHT, SQUARES = "hard votes", "soft votes", "weight", "squared weight"
AGAINST = "against"  # soft votes that prefer another outcome
PRODUCTS = [(k, other) for k in range(4) for other in range(k, 4)]


class NameOf(Enum):
    """Labels that are the name of a model of their row: a pair needs two cells for them, not one for each model."""

    MODEL_A = 1
    MODEL_B = 2


Label = str | NameOf | None
CellPlaces = tuple[np.ndarray, ...]  # of models a, models b and labels, as ``np.ix_`` makes them


@dataclass(frozen=True)
class CodedBlock:
    """A block of a table as numbers: the cell of each row, its weight and its soft vote, if the table has them."""

    cells: Int64[np.ndarray, " rows"]
    weight: Float64[np.ndarray, " rows"] | None
    soft: Float64[np.ndarray, "rows 4"] | None

    def bad_rows(self) -> Iterator[tuple[str, Mask]]:
        """Yield the faults of numbers, in order of precedence, with their rows."""
        if self.weight is not None:
            yield BAD_WEIGHT, is_bad_weight(self.weight)
        if self.soft is not None:
            yield BAD_SOFT_VOTE, is_bad_soft_vote(self.soft)


@dataclass
class CellNames:
    """The names of models and the labels of winners, as text without spaces around it, by their number."""

    models: dict[str | None, int] = field(default_factory=lambda: {None: 0})
    labels: dict[Label, int] = field(default_factory=lambda: {None: 0, NameOf.MODEL_A: 1, NameOf.MODEL_B: 2})

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.models), len(self.models), len(self.labels)

    def code(self, frame: pd.DataFrame, source: str) -> CodedBlock:
        """Number the rows of a block; raises ``NeedsEachVoteError`` if there are too many names to count by."""
        a, b = (_numbers_of(frame[side], self.models) for side in ("model_a", "model_b"))
        label = self._labels_of(frame["winner"], a, b)
        self.check_number(source)
        weight = numbers(frame["weight"]) if "weight" in frame.columns else None
        return CodedBlock((a * len(self.models) + b) * len(self.labels) + label, weight, soft_votes(frame))

    def check_number(self, source: str) -> None:
        """Raise NeedsEachVoteError, naming ``source``, if there are too many names to count by."""
        if np.prod(self.shape, dtype=np.float64) > MOST_CELLS:
            first = ", ".join(repr(text)[:40] for text in list(self.labels)[3:8])
            raise NeedsEachVoteError(
                f"{source}: {len(self.models) - 1:,} models with {len(self.labels) - 3:,} labels of winners ({first}, "
                "...) are too many to count votes by; give the right columns, or read the table whole (stream=false)"
            )

    def absorb(self, other: "CellNames") -> "CellPlaces":
        """Number the names of another part of the table too; returns the numbers that they have here."""
        models = [self.models.setdefault(name, len(self.models)) for name in other.models]
        labels = [self.labels.setdefault(label, len(self.labels)) for label in other.labels]
        return np.ix_(models, models, labels)

    def frame(self, cells: Int64[np.ndarray, " cells"]) -> pd.DataFrame:
        """Return the names and the label of some cells as the rows of a table."""
        names, labels = (np.array(list(known), dtype=object) for known in (self.models, self.labels))
        a, b, label = np.unravel_index(cells, self.shape)
        winner = np.where(label == NameOf.MODEL_A.value, names[a], labels[label])
        winner = np.where(label == NameOf.MODEL_B.value, names[b], winner)
        return pd.DataFrame({"model_a": names[a], "model_b": names[b], "winner": winner}, dtype=object)

    def _labels_of(self, column: pd.Series, a: np.ndarray, b: np.ndarray) -> Int64[np.ndarray, " rows"]:
        codes, texts = _texts_of(column)
        named = np.array([-1 if text is None else self.models.get(text, -1) for text in texts], dtype=np.int64)
        of_rows = [text for text, model in zip(texts, named, strict=True) if model < 0]
        known = {text: self.labels.setdefault(text, len(self.labels)) for text in of_rows}
        if not (named >= 0).any():
            return np.array([known[text] for text in texts], dtype=np.int64)[codes]
        model, label = named[codes], np.array([known.get(text, -1) for text in texts], dtype=np.int64)[codes]
        label = np.where((model >= 0) & (model == a), NameOf.MODEL_A.value, label)
        label = np.where((model >= 0) & (model == b), NameOf.MODEL_B.value, label)
        for code in np.unique(codes[label < 0]):  # the name of a model of other rows
            other = self.labels.setdefault(texts[code], len(self.labels))
            label[(label < 0) & (codes == code)] = other
        return label


@dataclass
class CellSums:
    """Sums of votes by cell, for one set of rows."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)
    shape: tuple[int, int, int] = (1, 1, 3)

    def add(self, block: CodedBlock, shape: tuple[int, int, int], rows: Mask | None = None) -> None:
        """Add the rows of a block, or those of a mask."""
        self._grow(shape)
        good = np.ones(len(block.cells), dtype=bool) if rows is None else rows.copy()
        for fault, bad in block.bad_rows():
            self._sum(fault, block.cells[bad & good])
            good &= ~bad
        if block.soft is not None:
            soft = good & ~np.isnan(block.soft).all(axis=1)
            self._add_soft(block.cells[soft], block.soft[soft], None if block.weight is None else block.weight[soft])
            good &= ~soft
        cells = block.cells if good.all() else block.cells[good]
        self._sum(HARD, cells)
        if block.weight is not None:
            weight = block.weight[good].astype(np.float32).astype(np.float64)
            self._sum(WEIGHT, cells, weight)
            self._sum(SQUARES, cells, weight**2)

    def merge(self, other: "CellSums", places: CellPlaces, shape: tuple[int, int, int]) -> None:
        """Add the sums of another part of the table, whose names have these numbers here."""
        self._grow(shape)
        for name, values in other.sums.items():
            mine = self.sums.setdefault(name, np.zeros(np.prod(shape), dtype=values.dtype)).reshape(shape)
            mine[places] += values.reshape(other.shape)

    def of(self, name: str) -> np.ndarray:
        """Return one of the sums by cell."""
        return self.sums.get(name, np.zeros(np.prod(self.shape), dtype=np.int64))

    @property
    def rows(self) -> Int64[np.ndarray, " cells"]:
        """Number of rows in each cell, bad ones included."""
        return sum((self.of(name) for name in (HARD, SOFT, BAD_WEIGHT, BAD_SOFT_VOTE)), np.zeros(1, dtype=np.int64))

    def _add_soft(self, cells: np.ndarray, soft: np.ndarray, weight: np.ndarray | None) -> None:
        shares = shares_of_soft_votes(soft)
        if weight is not None:
            shares = shares * weight.astype(np.float32)[:, None]
        shares = shares.astype(np.float64)
        self._sum(SOFT, cells)
        for k, against in enumerate(less_probable(soft).T):
            self._sum(f"{AGAINST} {k}", cells[against])
        for k, other in PRODUCTS:
            self._sum(f"{k} {other}", cells, shares[:, k] * shares[:, other])
        for k, share in enumerate(shares.T):
            self._sum(str(k), cells, share)

    def _sum(self, name: str, cells: np.ndarray, values: np.ndarray | None = None) -> None:
        if len(cells) or name == HARD:
            found = np.bincount(cells, values, int(np.prod(self.shape)))
            if name in self.sums:
                self.sums[name] += found
            else:
                self.sums[name] = found

    def _grow(self, shape: tuple[int, int, int]) -> None:
        if shape == self.shape:
            return
        more = [(0, new - old) for new, old in zip(shape, self.shape, strict=True)]
        self.sums = {name: np.pad(values.reshape(self.shape), more).ravel() for name, values in self.sums.items()}
        self.shape = shape


def _numbers_of(column: pd.Series, known: dict[str | None, int]) -> Int64[np.ndarray, " rows"]:
    check_names(column)
    codes, texts = _texts_of(column)
    return np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)[codes]


def _texts_of(column: pd.Series) -> tuple[Int64[np.ndarray, " rows"], list[str | None]]:
    """Return each row's position among the distinct values, and their texts."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = factorize(column)
        return codes, [text_of(value) for value in values]
    codes = column.cat.codes.to_numpy()
    used = np.bincount(codes + 1, minlength=len(column.cat.categories) + 1) > 0  # the first is a missing value
    place = np.cumsum(used) - 1
    values = [None, *column.cat.categories]
    return place[codes + 1], [text_of(value) for value, is_used in zip(values, used, strict=True) if is_used]
