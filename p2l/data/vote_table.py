"""Votes as numbers: which bad rows were left out and why, and the rest as arrays over unique prompts and models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from p2l.data.adapters import adapt
from p2l.data.battle_table import (
    BATTLE_COLUMNS,
    MISSING_VALUE,
    BattleColumns,
    BattleTable,
    Mask,
    SkipReport,
    check_share,
    skip_report,
)
from p2l.data.readers import read_table

REQUIRED_COLUMNS = ("prompt", *BATTLE_COLUMNS)

NON_STRING_TURN = "non-string turn"
EMPTY_PROMPT = "empty prompt"


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
    columns = BattleColumns.of(frame, source, REQUIRED_COLUMNS)
    report = skip_report(_bad_rows(frame["prompt"], columns.bad_rows(models)), len(frame))
    check_share(report, max_skipped_share, source)
    return (frame.iloc[report.kept_rows()] if report.skipped else frame).reset_index(drop=True), report


def _bad_rows(prompts: pd.Series, bad_battles: dict[str, Mask]) -> dict[str, Mask]:
    """For each reason to skip a row, in order of precedence, the rows it holds for."""
    prompt_index, unique = _index_prompts(prompts)
    flaw = np.array([_flaw(prompt) for prompt in unique], dtype=object)[prompt_index]
    return {
        MISSING_VALUE: (flaw == MISSING_VALUE) | bad_battles[MISSING_VALUE],
        NON_STRING_TURN: flaw == NON_STRING_TURN,
        EMPTY_PROMPT: flaw == EMPTY_PROMPT,
        **{reason: bad for reason, bad in bad_battles.items() if reason != MISSING_VALUE},
    }


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


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Votes as arrays. Several votes on one prompt share its text, so it can be encoded once.

    ``prompts`` are the unique prompts (user turns), in order of appearance, and ``prompt_index`` points into them;
    ``model_a`` and ``model_b`` point into ``models``; ``outcome_shares`` is each vote as a distribution over
    ``p2l.types.OUTCOMES`` (one-hot for a hard vote); ``frame`` holds the same rows with all their columns.
    """

    prompts: tuple[tuple[str, ...], ...]
    prompt_index: Int64[np.ndarray, " votes"]
    model_a: Int64[np.ndarray, " votes"]
    model_b: Int64[np.ndarray, " votes"]
    outcome_shares: Float32[np.ndarray, "votes 4"]
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
        battles = BattleColumns.of(frame, "the vote table").table(slice(None), models)
        prompt_index, prompts = _index_prompts(frame["prompt"])
        return cls(
            prompts=tuple(turns for turns in prompts if not isinstance(turns, str)),  # validated: none is a reason
            prompt_index=prompt_index,
            model_a=battles.model_a,
            model_b=battles.model_b,
            outcome_shares=battles.outcome_shares,
            weight=battles.weight,
            models=battles.models,
            frame=frame,
        )

    @property
    def battles(self) -> BattleTable:
        """The same votes without their prompts."""
        return BattleTable(self.model_a, self.model_b, self.outcome_shares, self.weight, self.models)

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "VoteTable":
        """The votes at these positions, in this order, with the prompts they use; ``models`` stay as they are."""
        rows = np.asarray(rows, dtype=np.int64)
        prompt_index, used = pd.factorize(self.prompt_index[rows])
        return VoteTable(
            prompts=tuple(self.prompts[prompt] for prompt in used),
            prompt_index=prompt_index.astype(np.int64),
            model_a=self.model_a[rows],
            model_b=self.model_b[rows],
            outcome_shares=self.outcome_shares[rows],
            weight=self.weight[rows],
            models=self.models,
            frame=self.frame.iloc[rows].reset_index(drop=True),
        )


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
