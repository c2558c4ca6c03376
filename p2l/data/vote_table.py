"""Votes as arrays over unique prompts and models, and the report of the rows that are not valid votes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from p2l.data.battle_table import BATTLE_COLUMNS, BattleColumns, BattleTable, check_weight
from p2l.data.cell_doubts import said_at_end
from p2l.data.collector import paused_collector
from p2l.data.prompt_column import PromptColumn
from p2l.data.readers import TableSource, source_name
from p2l.data.skip_report import (
    EMPTY_PROMPT,
    MISSING_VALUE,
    NON_STRING_TURN,
    Mask,
    SkipReport,
    check_skipped,
    skip_report,
)
from p2l.data.stored_prompts import StoredPrompts
from p2l.data.vote_frame import read_vote_frame
from p2l.data.winner_labels import WinnerMap, check_labels

REQUIRED_COLUMNS = ("prompt", *BATTLE_COLUMNS)


@dataclass(frozen=True, eq=False, repr=False)
class VoteTable:
    """Votes as arrays. Several votes on one prompt share its text, so that it is encoded once.

    ``prompts`` are the unique prompts (user turns), in order of appearance, and ``prompt_index`` are positions in them;
    ``model_a`` and ``model_b`` are positions in ``models``; ``outcome_shares`` is each vote as a distribution over
    ``p2l.types.OUTCOMES`` (one-hot for a hard vote); ``frame`` holds the same rows with all their columns. Of a large
    table the prompts and columns of long values stay in files: see ``p2l.data.large_votes``.
    """

    prompts: tuple[tuple[str, ...], ...] | StoredPrompts
    prompt_index: Int64[np.ndarray, " votes"]
    model_a: Int64[np.ndarray, " votes"]
    model_b: Int64[np.ndarray, " votes"]
    outcome_shares: Float32[np.ndarray, "votes 4"]
    weight: Float32[np.ndarray, " votes"]
    models: tuple[str, ...]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.prompt_index)

    def __repr__(self) -> str:
        return f"VoteTable({len(self):,} votes, {len(self.prompts):,} prompts, {len(self.models):,} models)"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.frame.head()._repr_html_()}"

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, models: Sequence[str] | None = None) -> "VoteTable":
        """Convert rows that are all valid votes.

        Args:
            frame: the columns of a vote table.
            models: the list of a trained model, in its order; by default the models of the table, sorted.

        Raises:
            DataError: a row is not a valid vote, or its model is not in ``models``; ``validate_votes`` finds these.
        """
        table, _ = convert_votes(frame, "the vote table", models, max_skipped_share=0.0)
        return table

    @property
    def battles(self) -> BattleTable:
        """The same votes without their prompts."""
        return BattleTable(self.model_a, self.model_b, self.outcome_shares, self.weight, self.models)

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "VoteTable":
        """Return the votes at these positions, in this order, with the prompts they use and the same ``models``."""
        rows = np.asarray(rows, dtype=np.int64)
        prompt_index, used = pd.factorize(self.prompt_index[rows])
        return VoteTable(
            prompts=_selected(self.prompts, used),
            prompt_index=prompt_index.astype(np.int64),
            model_a=self.model_a[rows],
            model_b=self.model_b[rows],
            outcome_shares=self.outcome_shares[rows],
            weight=self.weight[rows],
            models=self.models,
            frame=self.frame.iloc[rows].reset_index(drop=True),
        )


def _selected(
    prompts: tuple[tuple[str, ...], ...] | StoredPrompts, used: Int64[np.ndarray, " used"]
) -> tuple[tuple[str, ...], ...] | StoredPrompts:
    if isinstance(prompts, StoredPrompts):
        return prompts.select(used)
    return tuple(prompts[prompt] for prompt in used)


@paused_collector()
def load_votes(
    source: TableSource,
    *,
    split: str = "train",
    models: Sequence[str] | None = None,
    max_skipped_share: float = 0.05,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
) -> tuple[VoteTable, SkipReport]:
    """Read votes in any known format, and report the rows that are not valid votes.

    Args:
        source: a file, folder or hub dataset, or a table in memory: see ``read_table``. Public arena releases are
            recognised by their columns: see ``p2l.data.adapters.adapt``.
        split: of a hub dataset, a saved ``DatasetDict`` or a folder of parquet files.
        models: for validation data, those of the training table; votes on other models are skipped and reported.
        max_skipped_share: largest share of invalid rows that is reported instead of raised.
        columns: names in the table of some columns, such as ``{"prompt": "question"}``.
        winner_map: outcomes of further labels, such as ``{"first": "model_a", "skipped": None}``; None leaves the votes
            of a label out.

    Raises:
        DataError: a winner's label is unknown, whatever its share; the table cannot be read, columns are missing, or
            too many rows are invalid.

    >>> votes, report = load_votes([
    ...     {"prompt": "What is 1+1?", "model_a": "ant", "model_b": "bee", "winner": "model_a"},
    ...     {"prompt": "Write a poem.", "model_a": "bee", "model_b": "ant", "winner": "tie (bothbad)"},
    ... ])
    >>> votes
    VoteTable(2 votes, 2 prompts, 2 models)
    >>> report
    SkipReport(2 rows, 2 kept)
    """
    name = source_name(source)
    frame = read_vote_frame(source, split, columns=columns, winner_map=winner_map)
    table, report = convert_votes(frame, name, models, max_skipped_share)
    check_labels(report, max_skipped_share, name)
    return table, report


def validate_votes(
    frame: pd.DataFrame,
    *,
    max_skipped_share: float = 0.05,
    models: Sequence[str] | None = None,
    source: str = "the vote table",
) -> tuple[pd.DataFrame, SkipReport]:
    """Return the rows that are valid votes, in their order, and the report of the others.

    Needs ``prompt`` (a string or a list of user turns), ``model_a``, ``model_b`` and ``winner``; checks ``weight``
    (finite, not negative) and the soft vote (four columns, each at least 0, sum 1; all four null means a hard vote)
    if present. ``models`` are the models known from training: a vote on another one is skipped. Long prompts are kept:
    the prompt encoder truncates them.

    Raises:
        DataError: names ``source``; columns are missing, more than ``max_skipped_share`` of the rows are invalid, or
            all are.
    """
    table, report = convert_votes(frame, source, models, max_skipped_share)
    return table.frame, report


def convert_votes(
    frame: pd.DataFrame, source: str, models: Sequence[str] | None, max_skipped_share: float
) -> tuple[VoteTable, SkipReport]:
    """Validate and convert the columns of a vote table in one pass; arguments as of ``load_votes``."""
    columns = BattleColumns.of(frame, source, REQUIRED_COLUMNS)
    prompts = PromptColumn.of(frame["prompt"])
    report = report_votes(frame["prompt"], prompts, columns, models)
    check_skipped(report, max_skipped_share, source)
    rows = report.kept_rows() if report.skipped else slice(None)
    prompt_index, turns = prompts.select(rows)
    battles = columns.table(rows, models)
    with said_at_end(None) as doubts:
        columns.add_doubts(doubts, report.kept_rows())
    check_weight(float(battles.weight.sum(dtype=np.float64)), source)
    table = VoteTable(
        prompts=turns,
        prompt_index=prompt_index,
        model_a=battles.model_a,
        model_b=battles.model_b,
        outcome_shares=battles.outcome_shares,
        weight=battles.weight,
        models=battles.models,
        frame=frame.iloc[rows].reset_index(drop=True),
    )
    return table, report


def report_votes(
    column: pd.Series, prompts: PromptColumn, battles: BattleColumns, models: Sequence[str] | None
) -> SkipReport:
    """Report the rows that are no valid votes, with the values at fault; ``prompts`` is ``PromptColumn.of(column)``."""
    report = battles.explain(skip_report(_bad_votes(prompts, battles, models), len(column)), models)
    if rows := report.skipped.get(MISSING_VALUE):
        missing = int(prompts.has_flaw(MISSING_VALUE)[rows].sum())
        report.details[MISSING_VALUE] |= {"prompt": missing} if missing else {}
    if rows := report.skipped.get(NON_STRING_TURN):
        report.details[NON_STRING_TURN] = dict(Counter(str(column.iloc[row]) for row in rows))
    return report


def _bad_votes(prompts: PromptColumn, battles: BattleColumns, models: Sequence[str] | None) -> dict[str, Mask]:
    """Mark the rows with each fault; the faults are in order of precedence, which is that of ``REASONS``."""
    bad_battles = battles.bad_rows(models)
    return {
        MISSING_VALUE: prompts.has_flaw(MISSING_VALUE) | bad_battles[MISSING_VALUE],
        NON_STRING_TURN: prompts.has_flaw(NON_STRING_TURN),
        EMPTY_PROMPT: prompts.has_flaw(EMPTY_PROMPT),
        **{reason: bad for reason, bad in bad_battles.items() if reason != MISSING_VALUE},
    }
