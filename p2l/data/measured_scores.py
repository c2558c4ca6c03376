"""Measured score and cost of each LLM's answer to each prompt: the truth that routing is evaluated against."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from p2l.data.column_values import as_text, factorize, required_numbers
from p2l.data.prompt_cells import read_prompt_column
from p2l.data.prompt_column import PromptColumn
from p2l.data.prompt_encoder import turns_of
from p2l.data.readers import read_table
from p2l.data.skip_report import EMPTY_PROMPT, MISSING_VALUE, NON_STRING_TURN, skip_report
from p2l.data.vote_checks import shown_names
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError
from p2l.options import check_number, check_prices

log = logging.getLogger(__name__)

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
        cost_known: whether the cost was measured; None: all are.
    """

    models: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    score: Float64[np.ndarray, "prompts models"]
    weight: Float64[np.ndarray, "prompts models"]
    cost: Float64[np.ndarray, "prompts models"]
    cost_known: Bool[np.ndarray, "prompts models"] | None = None

    @property
    def measured_cost(self) -> Float64[np.ndarray, "prompts models"]:
        """The costs that were measured; NaN for the others."""
        return self.cost if self.cost_known is None else np.where(self.cost_known, self.cost, np.nan)

    def __len__(self) -> int:
        return len(self.prompts)

    def mean_score(self) -> Float64[np.ndarray, " models"]:
        """Return the mean score of each LLM alone; NaN if unknown."""
        total = self.weight.sum(axis=0)
        return (self.score * self.weight).sum(axis=0) / np.where(total > 0, total, np.nan)

    def among(self, models: Sequence[str]) -> "MeasuredScores":
        """Return the columns of these LLMs, in this order."""
        columns = [self.models.index(model) for model in models]
        known = None if self.cost_known is None else self.cost_known[:, columns]
        return MeasuredScores(
            tuple(models), self.prompts, self.score[:, columns], self.weight[:, columns], self.cost[:, columns], known
        )

    def rows(self, at: Int64[np.ndarray, " chosen"]) -> "MeasuredScores":
        """Return the rows of these prompts."""
        prompts = tuple(self.prompts[index] for index in at)
        known = None if self.cost_known is None else self.cost_known[at]
        return MeasuredScores(self.models, prompts, self.score[at], self.weight[at], self.cost[at], known)


@dataclass(frozen=True)
class MeasuredSource:
    """A table with one row for each prompt and LLM; the prompts are in the same table or another one.

    Attributes:
        scores: file with ``key``, ``model_column`` and ``score_column``.
        prompts: file with ``key`` and ``prompt``; None: the file of the scores.
        key: column that identifies the prompt in both files; None: ``prompt_id``, or the prompt itself without it.
        cost_column: cost of an answer; None: computed from ``prices``.
        prices: LLM -> dollars per million input and output tokens; other LLMs are left out. A token counts as four
            characters. The output is ``output_chars`` of the scores, or its mean if unknown.
        per: number of prompts that a cost refers to.
        split: value of the column ``split`` of the prompts to keep; None: all.
        with_costs: False: costs are not needed and not read; they are NaN.
        above_zero: every cost must be above 0, since its logarithm is taken.
    """

    scores: str
    prompts: str | None = None
    key: str | None = "prompt_id"
    model_column: str = "model"
    score_column: str = "score"
    cost_column: str | None = "cost"
    prices: Mapping[Any, Any] | None = None  # as in a file; checked here
    per: float = 1000.0
    split: str | None = None
    with_costs: bool = True
    above_zero: bool = False

    def __post_init__(self) -> None:
        check_prices(self.prices or {})
        check_number("per", self.per, above=0)
        if self.with_costs and not self.prices and self.cost_column is None:
            raise ConfigError("costs are needed: give cost_column=<column of the scores> or prices=<price list>")

    def load(self) -> MeasuredScores:
        """Read the table; average repeated rows, and log what was left out.

        Raises DataError if a column is missing, a score is not a number, or no row is left.
        """
        key, rows, texts = self._read()
        cost = self._costs(key, rows, texts) * self.per if self.with_costs else np.nan
        mean = rows.assign(cost=cost).groupby([key, self.model_column])[[self.score_column, "cost"]].mean()
        if len(mean) < len(rows):
            log.warning(
                "%s: %s repeated rows of a prompt and a model were averaged", self.scores, len(rows) - len(mean)
            )
        score, cost = (mean[name].unstack().reindex(texts.index) for name in (self.score_column, "cost"))
        known = score.notna().to_numpy()
        if missing := int((~known).sum()):
            log.warning("%s: %d of %d scores are missing, and do not count", self.scores, missing, known.size)
        if self.with_costs and (missing := int(cost.isna().to_numpy().sum())):
            log.warning("%s: %d of %d costs are missing; the LLM's mean counts", self.scores, missing, known.size)
        return MeasuredScores(
            models=tuple(map(str, score.columns)),
            prompts=tuple(turns_of(prompt) for prompt in texts),
            score=score.fillna(0.0).to_numpy(dtype=np.float64),
            weight=known.astype(np.float64),
            cost=cost.fillna(cost.mean()).to_numpy(dtype=np.float64),
            cost_known=cost.notna().to_numpy() if self.with_costs else None,
        )

    def _read(self) -> tuple[str, pd.DataFrame, pd.Series]:
        """Return the key column, the rows of the scores, and the prompt of each key."""
        names = tuple(name for name in (self.key, "prompt_id", self.model_column) if name)
        rows = read_table(self.scores, text=names)
        prompts = rows if self.prompts is None else read_table(self.prompts, text=names)
        cost = [self.cost_column] if self.with_costs and not self.prices and self.cost_column is not None else []
        key = self.key or ("prompt_id" if self.prompts is not None or "prompt_id" in rows else "prompt")
        _check(rows, self.scores, [key, self.model_column, self.score_column, *cost])
        _check(prompts, self.prompts or self.scores, [key, "prompt", *(["split"] if self.split else [])])
        source = self.scores if key == "prompt" else self.prompts or self.scores
        prompts = rows if key == "prompt" else prompts
        prompts = _with_prompt(prompts, source)
        if key == "prompt":
            rows = prompts
            key = "the prompt's number"  # a list of turns cannot be a key
            prompts = rows = rows.assign(**{key: list(map(str, factorize(rows["prompt"])[0]))})
        prompts = prompts.assign(**{key: as_text(prompts[key])}).dropna(subset=key)
        rows = rows.assign(**{name: as_text(rows[name]) for name in (key, self.model_column)})
        rows[self.score_column] = required_numbers(rows[self.score_column], self.scores)
        for name in cost:
            rows[name] = self._cost_numbers(rows[name])
        if "output_chars" in rows:
            rows["output_chars"] = required_numbers(rows["output_chars"], self.scores, least=0)
        self._warn_of_keys(key, rows, prompts, source)
        if self.split is not None:
            prompts = prompts[as_text(prompts["split"]) == self.split]
        return key, *self._kept(key, rows, _texts(prompts, key, source))

    def _warn_of_keys(self, key: str, rows: pd.DataFrame, prompts: pd.DataFrame, source: str) -> None:
        """Count the scores whose key has no prompt; those of another split have one."""
        unknown = rows[key][~rows[key].isin(prompts[key])]
        if len(unknown):
            log.warning(
                "%s: %s of %s rows were left out: their %s has no prompt in %s, such as %r",
                *(self.scores, f"{len(unknown):,}", f"{len(rows):,}", key, source, unknown.iloc[0]),
            )

    def _cost_numbers(self, column: pd.Series) -> pd.Series:
        if not self.above_zero:
            return required_numbers(column, self.scores, least=0)
        advice = "leave unknown costs empty, or give predict_costs=false to go without predicted costs"
        return required_numbers(column, self.scores, above=0.0, advice=advice)

    def _kept(self, key: str, rows: pd.DataFrame, texts: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
        """Return the rows with a prompt, a model and a score, and their prompts; log how many others there are."""
        without = rows[self.score_column].isna() | rows[self.model_column].isna()
        if without.any():
            log.warning("%s: %s rows without a score or a model were left out", self.scores, f"{without.sum():,}")
        kept = rows[key].isin(texts.index) & ~without
        if self.prices:
            unpriced = ~rows[self.model_column].isin(list(self.prices))
            if models := sorted(set(rows[self.model_column][kept & unpriced])):
                log.warning("%s: models without a price were left out: %s", self.scores, shown_names(models))
            kept &= ~unpriced
        if not kept.any():
            raise DataError(f"{self.scores}: no scored prompt is left (split={self.split}, key={key})")
        rows = rows[kept]
        return rows, texts[texts.index.isin(rows[key])]

    def _costs(self, key: str, rows: pd.DataFrame, texts: pd.Series) -> pd.Series:
        if not self.prices:
            return rows[self.cost_column].astype(np.float64)
        output = rows["output_chars"] if "output_chars" in rows else pd.Series(np.nan, index=rows.index)
        output = output.fillna(output.groupby(rows[self.model_column]).transform("mean")).fillna(output.mean())
        if output.isna().any():
            raise DataError(f"{self.scores} has no output_chars, which prices need; give cost_column=<column>")
        asked = rows[key].map(texts.map(lambda prompt: sum(map(len, turns_of(prompt)))))
        price = np.array([self.prices[model] for model in rows[self.model_column]], dtype=np.float64)
        return (asked * price[:, 0] + output * price[:, 1]) / (CHARACTERS_PER_TOKEN * 1e6)


def measured_votes(votes: VoteTable, costs: Mapping[str, float]) -> MeasuredScores:
    """Return scores from votes, for the LLMs that have a cost: win 1, loss 0, tie of either kind 1/2.

    The mean over the votes with a chosen LLM is its win rate, if the pairing on a prompt does not depend on the quality
    of the answers and all LLMs meet the same opponents.
    """
    for name, dollars in costs.items():
        check_number(f"costs: {name}", dollars, least=0)
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
    return MeasuredScores(votes.models, tuple(votes.prompts), score, weight, np.array(cost, dtype=np.float64)).among(
        models
    )


def _with_prompt(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Read the column ``prompt``, and leave out the rows without a valid one; log how many there are."""
    read = read_prompt_column(frame["prompt"], f"{source}, column prompt")
    prompts = PromptColumn.of(read)
    flaws = (MISSING_VALUE, NON_STRING_TURN, EMPTY_PROMPT)
    report = skip_report({flaw: prompts.has_flaw(flaw) for flaw in flaws}, len(frame))
    if report.skipped:
        log.warning("%s: rows without a prompt were left out: %s", source, report)
    return frame.assign(prompt=read).iloc[report.kept_rows()]


def _texts(prompts: pd.DataFrame, key: str, source: str) -> pd.Series:
    """Return the prompt of each key; DataError if one key has different prompts."""
    texts = prompts.drop_duplicates(key).set_index(key)["prompt"]
    codes = pd.Series(factorize(prompts["prompt"])[0], index=prompts[key])
    ambiguous = codes.groupby(level=0).nunique() > 1
    if ambiguous.any():
        raise DataError(
            f"{source}: {key} {ambiguous.idxmax()!r} has different prompts ({ambiguous.sum():,} such keys); give each "
            "prompt a key of its own"
        )
    return texts


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
