"""Votes as numbers: which bad rows were left out and why, and the rest as arrays over unique prompts and models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from p2l.data.adapters import SOFT_COLUMNS, adapt
from p2l.data.readers import read_table
from p2l.errors import DataError
from p2l.types import OUTCOMES

REQUIRED_COLUMNS = ("prompt", "model_a", "model_b", "winner")

MISSING_VALUE = "missing value"
NON_STRING_TURN = "non-string turn"
EMPTY_PROMPT = "empty prompt"
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

    A row bad in several ways is listed once, under the first reason in the order of this module's constants.
    """

    total: int
    kept: int
    skipped: dict[str, list[int]]

    @property
    def share(self) -> float:
        """The skipped share of all rows, in [0, 1]."""
        return (self.total - self.kept) / self.total if self.total else 0.0

    def __str__(self) -> str:
        head = f"{self.total:,} rows, {self.kept:,} kept, {self.total - self.kept:,} skipped ({self.share:.2%})"
        return "\n".join([head, *(f"  {reason}: {_rows_text(rows)}" for reason, rows in self.skipped.items())])


def _rows_text(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    return f"{len(rows):,} (row {shown}{', ...' if len(rows) > _ROWS_SHOWN else ''})"


def validate_votes(
    frame: pd.DataFrame,
    *,
    max_skipped_share: float = 0.05,
    models: Sequence[str] | None = None,
    source: str = "the vote table",
) -> tuple[pd.DataFrame, SkipReport]:
    """The rows that are votes, in their order, and the report of those that are not.

    Needs ``prompt`` (a string or a list of user turns), ``model_a``, ``model_b`` and ``winner``; checks ``weight``
    (finite, not negative) and the soft vote (four columns, each at least 0, sum 1; all four null means a hard vote)
    where they are there. ``models`` are the models known from training: a vote on another is skipped. Long prompts are
    kept: the prompt encoder truncates. Raises ``DataError``, naming ``source``, where columns are missing, more than
    ``max_skipped_share`` of the rows are skipped, or none is left.
    """
    _check_columns(frame, source)
    report = _skip_report(_bad_rows(frame, models), len(frame))
    if report.kept == 0 or report.share > max_skipped_share:
        problem = f"more than {max_skipped_share:.2%} of the rows are no votes" if report.kept else "no row is a vote"
        raise DataError(f"{source}: {problem}\n{report}")
    kept = np.ones(len(frame), dtype=bool)
    kept[[row for rows in report.skipped.values() for row in rows]] = False
    return frame[kept].reset_index(drop=True), report


def _check_columns(frame: pd.DataFrame, source: str) -> None:
    needed = REQUIRED_COLUMNS + (SOFT_COLUMNS if set(SOFT_COLUMNS) & set(frame.columns) else ())
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise DataError(
            f"{source} has no column {', '.join(missing)}; a vote table needs {', '.join(needed)}. "
            f"It has: {', '.join(map(str, frame.columns))}"
        )


def _bad_rows(frame: pd.DataFrame, models: Sequence[str] | None) -> dict[str, Mask]:
    """For each reason to skip a row, in order of precedence, the rows it holds for."""
    prompt_index, prompts = _index_prompts(frame["prompt"])
    flaw = np.array([_flaw(prompt) for prompt in prompts], dtype=object)[prompt_index]
    model_a, model_b = _names(frame["model_a"]), _names(frame["model_b"])
    missing = (flaw == MISSING_VALUE) | _is_blank(model_a) | _is_blank(model_b) | frame["winner"].isna().to_numpy()
    return {
        MISSING_VALUE: missing,
        NON_STRING_TURN: flaw == NON_STRING_TURN,
        EMPTY_PROMPT: flaw == EMPTY_PROMPT,
        SAME_MODEL: (model_a == model_b).fillna(False).to_numpy(dtype=bool),
        UNKNOWN_WINNER: _winner_index(frame) < 0,
        UNKNOWN_MODEL: _is_unknown(model_a, models) | _is_unknown(model_b, models),
        BAD_WEIGHT: _is_bad_weight(frame),
        BAD_SOFT_VOTE: _is_bad_soft_vote(_soft_votes(frame)),
    }


def _skip_report(bad_rows: dict[str, Mask], total: int) -> SkipReport:
    skip = np.zeros(total, dtype=bool)
    skipped = {}
    for reason, bad in bad_rows.items():
        rows = np.flatnonzero(bad & ~skip)
        skip |= bad
        if rows.size:
            skipped[reason] = rows.tolist()
    return SkipReport(total=total, kept=int(total - skip.sum()), skipped=skipped)


def _index_prompts(column: pd.Series) -> tuple[Int64[np.ndarray, " votes"], list[tuple[str, ...] | str]]:
    """The position of each row's prompt among the unique prompts (in order of appearance), and those, as turns.

    A value that is no prompt counts as one more unique prompt: the reason why it is none.
    """
    positions, values = np.arange(len(column)), column
    if isinstance(column.dtype, pd.StringDtype):  # a fast way to the same result: few of the strings are distinct
        positions, values = pd.factorize(column, use_na_sentinel=False)
    seen: dict[tuple[str, ...] | str, int] = {}
    index = np.fromiter((seen.setdefault(_turns(value), len(seen)) for value in values), np.int64, len(values))
    return index[positions], list(seen)


def _turns(value: object) -> tuple[str, ...] | str:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple, np.ndarray)):
        turns = tuple(value)
        return turns if all(isinstance(turn, str) for turn in turns) else NON_STRING_TURN
    return MISSING_VALUE if value is None or pd.isna(value) is True else NON_STRING_TURN


def _flaw(prompt: tuple[str, ...] | str) -> str | None:
    if isinstance(prompt, str):
        return prompt
    return None if any(turn.strip() for turn in prompt) else EMPTY_PROMPT


def _names(models: pd.Series) -> pd.Series:
    return models.astype("string")


def _is_blank(names: pd.Series) -> Mask:
    return (names.isna() | (names.str.strip() == "")).to_numpy(dtype=bool)


def _is_unknown(names: pd.Series, models: Sequence[str] | None) -> Mask:
    return np.zeros(len(names), dtype=bool) if models is None else _positions(names, models) < 0


def _positions(values: pd.Series, of: Sequence[str]) -> Int64[np.ndarray, " votes"]:
    """Each value's position in a list of unique strings, -1 where it is not in it."""
    codes, uniques = pd.factorize(values, use_na_sentinel=False)
    position = {value: index for index, value in enumerate(of)}
    table = np.array([-1 if pd.isna(value) else position.get(value, -1) for value in uniques], dtype=np.int64)
    return table[codes]


def _winner_index(frame: pd.DataFrame) -> Int64[np.ndarray, " votes"]:
    return _positions(frame["winner"], [outcome.value for outcome in OUTCOMES])


def _weights(frame: pd.DataFrame) -> Float64[np.ndarray, " votes"]:
    if "weight" not in frame.columns:
        return np.ones(len(frame))
    return _numbers(frame["weight"])


def _numbers(column: pd.Series) -> Float64[np.ndarray, " votes"]:
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _is_bad_weight(frame: pd.DataFrame) -> Mask:
    weights = _weights(frame)
    return ~((weights >= 0) & (weights <= np.finfo(np.float32).max))


def _soft_votes(frame: pd.DataFrame) -> Float64[np.ndarray, "votes 4"]:
    """The soft votes, in the order of ``OUTCOMES``; a row of NaN is a hard vote."""
    if SOFT_COLUMNS[0] not in frame.columns:
        return np.full((len(frame), len(OUTCOMES)), np.nan)
    return np.stack([_numbers(frame[column]) for column in SOFT_COLUMNS], axis=1)


def _is_bad_soft_vote(soft: Float64[np.ndarray, "votes 4"]) -> Mask:
    hard = np.isnan(soft).all(axis=1)
    distribution = (soft >= 0).all(axis=1) & (np.abs(soft.sum(axis=1) - 1) <= _SOFT_SUM_TOLERANCE)
    return ~(hard | distribution)


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Votes as arrays. Several votes on one prompt share its text, so it can be encoded once.

    ``prompts`` are the unique prompts (user turns), in order of appearance, and ``prompt_index`` points into them;
    ``model_a`` and ``model_b`` point into ``models``; ``kinds`` is each vote as a distribution over
    ``p2l.types.OUTCOMES`` (one-hot for a hard vote); ``frame`` holds the same rows with all their columns.
    """

    prompts: tuple[tuple[str, ...], ...]
    prompt_index: Int64[np.ndarray, " votes"]
    model_a: Int64[np.ndarray, " votes"]
    model_b: Int64[np.ndarray, " votes"]
    kinds: Float32[np.ndarray, "votes 4"]
    weight: Float32[np.ndarray, " votes"]
    models: tuple[str, ...]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.prompt_index)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, models: Sequence[str] | None = None) -> "VoteTable":
        """The table of validated rows. ``models``: the list of a trained model, in its order; else the table's, sorted.

        Raises ``DataError`` where a row is no vote or its model is not in ``models`` (``validate_votes`` finds these).
        """
        frame, _ = validate_votes(frame, max_skipped_share=0.0, models=models)
        model_a, model_b = _names(frame["model_a"]), _names(frame["model_b"])
        if models is None:
            models = sorted({*model_a.unique(), *model_b.unique()})
        prompt_index, prompts = _index_prompts(frame["prompt"])
        return cls(
            prompts=tuple(turns for turns in prompts if not isinstance(turns, str)),  # validated: none is a reason
            prompt_index=prompt_index,
            model_a=_positions(model_a, models),
            model_b=_positions(model_b, models),
            kinds=_kinds(frame),
            weight=_weights(frame).astype(np.float32),
            models=tuple(models),
            frame=frame,
        )

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "VoteTable":
        """The votes at these positions, in this order, with the prompts they use; ``models`` stay as they are."""
        rows = np.asarray(rows, dtype=np.int64)
        prompt_index, used = pd.factorize(self.prompt_index[rows])
        return VoteTable(
            prompts=tuple(self.prompts[prompt] for prompt in used),
            prompt_index=prompt_index.astype(np.int64),
            model_a=self.model_a[rows],
            model_b=self.model_b[rows],
            kinds=self.kinds[rows],
            weight=self.weight[rows],
            models=self.models,
            frame=self.frame.iloc[rows].reset_index(drop=True),
        )


def _kinds(frame: pd.DataFrame) -> Float32[np.ndarray, "votes 4"]:
    soft = _soft_votes(frame)
    hard = np.eye(len(OUTCOMES))[_winner_index(frame)]
    kinds = np.where(np.isnan(soft), hard, soft / soft.sum(axis=1, keepdims=True))
    return kinds.astype(np.float32)


def load_votes(
    source: str, *, split: str = "train", models: Sequence[str] | None = None, max_skipped_share: float = 0.05
) -> tuple[VoteTable, SkipReport]:
    """Read a file, folder or hub dataset of votes in any known format: ``read_table``, ``adapt``, ``validate_votes``.

    Give validation data the training table's ``models``; votes on others are skipped and reported.
    """
    frame, report = validate_votes(
        adapt(read_table(source, split)), max_skipped_share=max_skipped_share, models=models, source=source
    )
    return VoteTable.from_frame(frame, models), report
