"""What each LLM's answer to each prompt was worth and cost: the truth that routing is measured against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from p2l.data.prompt_encoder import turns_of
from p2l.data.readers import read_table
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError

CHARACTERS_PER_TOKEN = 4.0
_VOTE_SCORE = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])  # for a and b, by kind of vote


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores and costs of the answers of some LLMs to some prompts.

    Attributes:
        models: the LLMs.
        prompts: user turns.
        score: of the answer, mean over its votes where it was voted on; 0 where unknown.
        weight: how much evidence there is for it: 1 where it was measured, the number of votes; 0 where unknown.
        cost: of the answer; the LLM's mean where unknown.
    """

    models: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    score: Float64[np.ndarray, "prompts models"]
    weight: Float64[np.ndarray, "prompts models"]
    cost: Float64[np.ndarray, "prompts models"]

    def __len__(self) -> int:
        return len(self.prompts)

    def mean_score(self) -> Float64[np.ndarray, " models"]:
        """Of each LLM alone; NaN where nothing is known."""
        total = self.weight.sum(axis=0)
        return (self.score * self.weight).sum(axis=0) / np.where(total > 0, total, np.nan)

    def among(self, models: Sequence[str]) -> "Measured":
        """The same of these LLMs, in their order."""
        columns = [self.models.index(model) for model in models]
        return Measured(
            tuple(models), self.prompts, self.score[:, columns], self.weight[:, columns], self.cost[:, columns]
        )

    def rows(self, at: Int64[np.ndarray, " chosen"]) -> "Measured":
        """The same of these prompts."""
        prompts = tuple(self.prompts[index] for index in at)
        return Measured(self.models, prompts, self.score[at], self.weight[at], self.cost[at])


@dataclass(frozen=True)
class MeasuredSource:
    """A table of one row for each prompt and LLM, with the prompts in the same table or in another.

    Attributes:
        scores: file with ``key``, ``model_column`` and ``score_column``.
        prompts: file with ``key`` and ``prompt``; None: ``scores`` has them.
        key: names the prompt in both.
        cost_column: what an answer cost; None: by ``prices``.
        prices: LLM -> dollars per million input and output tokens; those not in it are left out. A token is taken for
            four characters. Output is ``output_chars`` of the scores where known, else its mean.
        per: costs are of so many prompts.
        split: only the prompts whose column ``split`` says so.
    """

    scores: str
    prompts: str | None = None
    key: str = "prompt_id"
    model_column: str = "model"
    score_column: str = "score"
    cost_column: str | None = "cost"
    prices: Mapping[str, Sequence[float]] | None = None
    per: float = 1000.0
    split: str | None = None

    def __post_init__(self) -> None:
        if not self.prices and self.cost_column is None:
            raise ConfigError("costs are needed: give cost_column=<column of the scores> or prices=<price list>")

    def load(self) -> Measured:
        """Repeated rows are averaged; DataError where columns are missing or nothing is left."""
        rows, texts = self._read()
        rows = rows.assign(cost=self._costs(rows, texts) * self.per)
        mean = rows.groupby([self.key, self.model_column])[[self.score_column, "cost"]].mean()
        score, cost = (mean[name].unstack().reindex(texts.index) for name in (self.score_column, "cost"))
        known = score.notna().to_numpy()
        return Measured(
            models=tuple(map(str, score.columns)),
            prompts=tuple(turns_of(prompt) for prompt in texts),
            score=score.fillna(0.0).to_numpy(dtype=np.float64),
            weight=known.astype(np.float64),
            cost=cost.fillna(cost.mean()).to_numpy(dtype=np.float64),
        )

    def _read(self) -> tuple[pd.DataFrame, pd.Series]:
        """The rows of the scores, and the prompt of each key."""
        rows = read_table(self.scores)
        prompts = rows if self.prompts is None else read_table(self.prompts)
        cost = [] if self.prices or self.cost_column is None else [self.cost_column]
        _check(rows, self.scores, [self.key, self.model_column, self.score_column, *cost])
        _check(prompts, self.prompts or self.scores, [self.key, "prompt", *(["split"] if self.split else [])])
        if self.split is not None:
            prompts = prompts[prompts["split"] == self.split]
        texts = prompts.drop_duplicates(self.key).set_index(self.key)["prompt"]
        kept = rows[self.key].isin(texts.index) & rows[self.score_column].notna()
        if self.prices:
            kept &= rows[self.model_column].isin(list(self.prices))
        if not kept.any():
            raise DataError(f"{self.scores}: no scored prompt is left (split={self.split}, key={self.key})")
        rows = rows[kept]
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


def measured_votes(votes: VoteTable, costs: Mapping[str, float]) -> Measured:
    """What votes tell of the LLMs that have a cost: a win 1, a loss 0, a tie of either kind 1/2.

    The mean over the votes that a chosen LLM took part in is its win rate, on the assumption that who was paired on a
    prompt does not depend on how well they answer it, and that all meet the same opponents.
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
    return Measured(votes.models, votes.prompts, score, weight, np.array(cost, dtype=np.float64)).among(models)


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
