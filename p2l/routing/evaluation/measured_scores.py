"""Measured score and cost of each LLM's answer to each prompt: the truth that routing is evaluated against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from p2l.data.adapters import with_text_prompts
from p2l.data.column_values import as_text, required_numbers
from p2l.data.prompt_encoder import turns_of
from p2l.data.readers import read_table
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError

CHARACTERS_PER_TOKEN = 4.0
_VOTE_SCORE = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])  # of a and b, by outcome


@dataclass(frozen=True, eq=False)
class MeasuredScores:
    """Scores and costs of the answers of some LLMs to some prompts.

    Attributes:
        models: the LLMs.
        prompts: user turns.
        score: of the answer, as a mean over its votes if they are the source; 0 if unknown.
        weight: of the evidence: 1 for a measured score, the number of votes for voted ones; 0 if unknown.
        cost: of the answer; the LLM's mean if unknown.
    """

    models: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    score: Float64[np.ndarray, "prompts models"]
    weight: Float64[np.ndarray, "prompts models"]
    cost: Float64[np.ndarray, "prompts models"]

    def __len__(self) -> int:
        return len(self.prompts)

    def mean_score(self) -> Float64[np.ndarray, " models"]:
        """Return the mean score of each LLM alone; NaN if unknown."""
        total = self.weight.sum(axis=0)
        return (self.score * self.weight).sum(axis=0) / np.where(total > 0, total, np.nan)

    def among(self, models: Sequence[str]) -> "MeasuredScores":
        """Return the columns of these LLMs, in this order."""
        columns = [self.models.index(model) for model in models]
        return MeasuredScores(
            tuple(models), self.prompts, self.score[:, columns], self.weight[:, columns], self.cost[:, columns]
        )

    def rows(self, at: Int64[np.ndarray, " chosen"]) -> "MeasuredScores":
        """Return the rows of these prompts."""
        prompts = tuple(self.prompts[index] for index in at)
        return MeasuredScores(self.models, prompts, self.score[at], self.weight[at], self.cost[at])


@dataclass(frozen=True)
class MeasuredSource:
    """A table with one row for each prompt and LLM; the prompts are in the same table or another one.

    Attributes:
        scores: file with ``key``, ``model_column`` and ``score_column``.
        prompts: file with ``key`` and ``prompt``; None: the file of the scores.
        key: column that identifies the prompt in both files.
        cost_column: cost of an answer; None: computed from ``prices``.
        prices: LLM -> dollars per million input and output tokens; other LLMs are left out. A token counts as four
            characters. The output is ``output_chars`` of the scores, or its mean if unknown.
        per: number of prompts that a cost refers to.
        split: value of the column ``split`` of the prompts to keep; None: all.
    """

    scores: str
    prompts: str | None = None
    key: str = "prompt_id"
    model_column: str = "model"
    score_column: str = "score"
    cost_column: str | None = "cost"
    prices: Mapping[Any, Sequence[float]] | None = None  # as in a file; checked here
    per: float = 1000.0
    split: str | None = None

    def __post_init__(self) -> None:
        if numbers := [name for name in self.prices or () if not isinstance(name, str)]:
            raise ConfigError(f"prices: {numbers[0]!r} is a number to YAML; quote the name, as in '0613': [1, 2]")
        if not self.prices and self.cost_column is None:
            raise ConfigError("costs are needed: give cost_column=<column of the scores> or prices=<price list>")

    def load(self) -> MeasuredScores:
        """Read the table; average repeated rows. Raises DataError if a column is missing or no row is left."""
        rows, texts = self._read()
        rows = rows.assign(cost=self._costs(rows, texts) * self.per)
        mean = rows.groupby([self.key, self.model_column])[[self.score_column, "cost"]].mean()
        score, cost = (mean[name].unstack().reindex(texts.index) for name in (self.score_column, "cost"))
        known = score.notna().to_numpy()
        return MeasuredScores(
            models=tuple(map(str, score.columns)),
            prompts=tuple(turns_of(prompt) for prompt in texts),
            score=score.fillna(0.0).to_numpy(dtype=np.float64),
            weight=known.astype(np.float64),
            cost=cost.fillna(cost.mean()).to_numpy(dtype=np.float64),
        )

    def _read(self) -> tuple[pd.DataFrame, pd.Series]:
        """Return the rows of the scores, and the prompt of each key."""
        names = (self.key, self.model_column)
        rows = read_table(self.scores, text=names)
        prompts = rows if self.prompts is None else read_table(self.prompts, text=names)
        cost = [] if self.prices or self.cost_column is None else [self.cost_column]
        _check(rows, self.scores, [self.key, self.model_column, self.score_column, *cost])
        _check(prompts, self.prompts or self.scores, [self.key, "prompt", *(["split"] if self.split else [])])
        rows = rows.assign(**{name: as_text(rows[name]) for name in names})
        prompts = with_text_prompts(prompts.assign(**{self.key: as_text(prompts[self.key])}))
        for name in (self.score_column, *cost, *(["output_chars"] if "output_chars" in rows else [])):
            rows[name] = required_numbers(rows[name], self.scores)
        if self.split is not None:
            prompts = prompts[as_text(prompts["split"]) == self.split]
        texts = prompts.drop_duplicates(self.key).set_index(self.key)["prompt"]
        kept = rows[self.key].isin(texts.index) & rows[self.score_column].notna()
        if self.prices:
            kept &= rows[self.model_column].isin(list(self.prices))
        if not kept.any():
            raise DataError(f"{self.scores}: no scored prompt is left (split={self.split}, key={self.key})")
        rows = rows[kept]
        rows = rows.assign(**{column: _numbers(rows, column, self.scores) for column in [self.score_column, *cost]})
        return rows, texts[texts.index.isin(rows[self.key])]

    def _costs(self, rows: pd.DataFrame, texts: pd.Series) -> pd.Series:
        if not self.prices:
            return rows[self.cost_column].astype(np.float64)
        output = rows["output_chars"] if "output_chars" in rows else pd.Series(np.nan, index=rows.index)
        output = output.fillna(output.groupby(rows[self.model_column]).transform("mean")).fillna(output.mean())
        if output.isna().any():
            raise DataError(f"{self.scores} has no output_chars, which prices need; give cost_column=<column>")
        asked = rows[self.key].map(texts.map(lambda prompt: sum(map(len, turns_of(prompt)))))
        price = np.array([self.prices[model] for model in rows[self.model_column]], dtype=np.float64)
        return (asked * price[:, 0] + output * price[:, 1]) / (CHARACTERS_PER_TOKEN * 1e6)


def measured_votes(votes: VoteTable, costs: Mapping[str, float]) -> MeasuredScores:
    """Return scores from votes, for the LLMs that have a cost: win 1, loss 0, tie of either kind 1/2.

    The mean over the votes with a chosen LLM is its win rate, if the pairing on a prompt does not depend on the quality
    of the answers and all LLMs meet the same opponents.
    """
    models = [model for model in votes.models if model in costs]
    if not models:
        raise ConfigError(f"costs: none of {', '.join(costs) or 'no models'} is among the models of the votes")
    shape = (len(votes.prompts), len(votes.models))
    total, weight = np.zeros(shape), np.zeros(shape)
    share = votes.outcome_shares.astype(np.float64) @ _VOTE_SCORE
    for side, model in enumerate((votes.model_a, votes.model_b)):
        np.add.at(total, (votes.prompt_index, model), share[:, side] * votes.weight)
        np.add.at(weight, (votes.prompt_index, model), votes.weight)
    score = np.divide(total, weight, out=np.zeros(shape), where=weight > 0)
    cost = np.broadcast_to([costs.get(model, np.nan) for model in votes.models], shape)
    return MeasuredScores(votes.models, votes.prompts, score, weight, np.array(cost, dtype=np.float64)).among(models)


def _numbers(rows: pd.DataFrame, column: str, source: str) -> pd.Series:
    """Return a column as numbers, NaN if it is empty; DataError, with row numbers, for any other value."""
    values = rows[column]
    empty = values.isna() | values.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)
    found = pd.to_numeric(values.where(~empty), errors="coerce").astype(np.float64)
    wrong = np.flatnonzero(~empty & ~np.isfinite(found))
    if wrong.size:
        places = ", ".join(f"{rows.index[at]} ({values.iloc[at]!r})" for at in wrong[:3])
        raise DataError(
            f"{source}: {column} must be a finite number, say 0.001, or empty; wrong in {wrong.size:,} rows: {places}"
        )
    return found


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
