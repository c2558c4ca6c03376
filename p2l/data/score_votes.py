"""Votes from measured scores: on each prompt the LLM with the better answer beats the other."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64

from p2l.data.adapters import SOFT_COLUMNS
from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.data.prompt_overlap import prompt_groups
from p2l.data.vote_checks import warn_of_doubts
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError
from p2l.options import check_count, check_number, check_seed, check_share
from p2l.winner import OUTCOMES

log = logging.getLogger(__name__)

_OTHER_PROMPTS = "give the scores of other prompts"
_CHUNK = 4_000_000  # pairs in memory at once
_FEW_DECIDED = 0.9  # share of pairs that are ties or both bad
_OR_A_SHARE = ", or data.val_share in place of data.val"


@dataclass(frozen=True)
class PairRule:
    """Which pairs of LLMs meet on a prompt, and what their scores say.

    Attributes:
        pairs: how many pairs to draw on each prompt; "all" takes each pair of the LLMs that were scored on it.
        temperature: 0: the better score wins. Above 0: a soft vote, P(a beats b) = sigmoid((score of a - score of b) /
            temperature); large values train on differences, small ones on the order.
        tie_within: scores at most this far apart are a tie.
        bad_below: a pair whose scores are both below is "tie (bothbad)", which the grounded families learn from; None:
            no pair is.
        seed: of the drawn pairs, and of the order of the two LLMs in each.
    """

    pairs: int | str = "all"
    temperature: float = 0.0
    tie_within: float = 0.0
    bad_below: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs != "all":
            check_count("data.rule.pairs", self.pairs, of="or all")
        check_number("data.rule.temperature", self.temperature, least=0)
        check_number("data.rule.tie_within", self.tie_within, least=0)
        if self.bad_below is not None:
            check_number("data.rule.bad_below", self.bad_below)
        check_seed(self.seed)

    def votes(self, measured: MeasuredScores, models: tuple[str, ...] | None = None) -> VoteTable:
        """Return a vote for each pair; ``models`` is the list of a trained model, by default those of the scores.

        Raises DataError if no prompt has the scores of two LLMs.
        """
        prompt, a, b = (np.concatenate(parts) for parts in zip(*self._pairs(measured.weight > 0), strict=True))
        if not len(prompt):
            raise DataError("no prompt has the scores of two models, so that there is no pair to learn from")
        shares = self._outcome_shares(measured.score[prompt, a], measured.score[prompt, b])
        return _vote_table(measured, prompt, a, b, shares, models)

    def _pairs(self, known: np.ndarray) -> Iterator[tuple[Int64[np.ndarray, " pairs"], ...]]:
        """Yield prompts and their two LLMs, part by part."""
        generator = np.random.default_rng(self.seed)
        first, second = np.triu_indices(known.shape[1], k=1)
        step = max(1, _CHUNK // max(1, len(first)))
        for start in range(0, len(known), step):
            rows = known[start : start + step]
            possible = rows[:, first] & rows[:, second]
            if isinstance(self.pairs, int) and self.pairs < len(first):
                possible &= _is_among_largest(np.where(possible, generator.random(possible.shape), -1.0), self.pairs)
            prompt, pair = np.nonzero(possible)
            swapped = generator.random(len(pair)) < 0.5
            a, b = np.where(swapped, second[pair], first[pair]), np.where(swapped, first[pair], second[pair])
            yield prompt + start, a, b

    def _outcome_shares(
        self, score_a: Float64[np.ndarray, " pairs"], score_b: Float64[np.ndarray, " pairs"]
    ) -> Float32[np.ndarray, "pairs 4"]:
        gap = score_a - score_b
        wins = (gap > 0).astype(np.float64)
        if self.temperature > 0:
            wins = 1 / (1 + np.exp(np.clip(-gap / self.temperature, -500, 500)))
        shares = np.zeros((len(gap), len(OUTCOMES)), dtype=np.float32)
        shares[:, 0], shares[:, 1] = wins, 1 - wins
        shares[np.abs(gap) <= self.tie_within] = [0, 0, 1, 0]
        if self.bad_below is not None:
            shares[np.maximum(score_a, score_b) < self.bad_below] = [0, 0, 0, 1]
        return shares


@dataclass(frozen=True)
class ScoreVotes:
    """Load measured scores, one row for each prompt and LLM, as votes to train on.

    Attributes:
        train, val, test: files with the columns ``prompt``, ``model`` and ``score``, in any format that p2l reads.
        rule: which pairs meet on a prompt, and what their scores say.
        prompts: file with ``key`` and ``prompt``, if the scores have none.
        key: column that identifies the prompt; None: ``prompt_id``, or the prompt itself without it.
        model_column, score_column: names of these columns.
        cost_column: cost of an answer in dollars, for routing; None: no costs are read.
        predict_costs: whether the checkpoint shall predict these costs, which must be above 0 then.
        split, val_split, test_split: value of the prompts' column ``split`` of each; None: all.
        val_share: share of the training prompts held out for validation if ``val`` is not given; 0 for none.
        seed: of the prompts held out.
    """

    train: str
    rule: PairRule
    val: str | None = None
    test: str | None = None
    prompts: str | None = None
    key: str | None = None
    model_column: str = "model"
    score_column: str = "score"
    cost_column: str | None = None
    predict_costs: bool = True
    split: str | None = None
    val_split: str | None = None
    test_split: str | None = None
    val_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("data.val_share", self.val_share)
        check_seed(self.seed)
        if self.split is None and self.train in (self.val, self.test):
            raise ConfigError(
                "data.val or data.test is the file of data.train: give data.split=<value> of its column split"
            )

    @property
    def predicts_costs(self) -> bool:
        """Whether there are costs, and the checkpoint shall predict them."""
        return self.predict_costs and self.cost_column is not None

    @cached_property
    def measured(self) -> dict[str, MeasuredScores]:
        """The scores of "train", "val" and "test", as far as they are given, over the LLMs of the training scores."""
        train = self._source(self.train, self.split).load()
        found = {"train": train}
        if self.val is not None:
            found["val"] = self._source(self.val, self.val_split).load()
        elif self.val_share > 0:
            found["train"], found["val"] = hold_out(train, self.val_share, self.seed)
        if self.test is not None:
            found["test"] = self._source(self.test, self.test_split).load()
        return {name: one if name == "train" else _over(one, train.models, name) for name, one in found.items()}

    def load(self) -> VoteSplits:
        """Read the scores and derive the votes; log how many of each kind there are."""
        tables = {
            name: self.rule.votes(measured, self.measured["train"].models) for name, measured in self.measured.items()
        }
        for name, table in tables.items():
            kinds = table.outcome_shares[:, 2:].sum(axis=0)
            self._check_decided(name, kinds, len(table))
            log.info(
                "%s: %s votes from %s scores on %s prompts, %s ties, %s both bad",
                name,
                f"{len(table):,}",
                f"{int((self.measured[name].weight > 0).sum()):,}",
                f"{len(table.prompts):,}",
                f"{kinds[0]:,.0f}",
                f"{kinds[1]:,.0f}",
            )
        advice = _OTHER_PROMPTS + _OR_A_SHARE * (self.val is not None)
        warn_of_doubts(tables, advice)
        return VoteSplits(**tables, advice=advice)

    def _check_decided(self, name: str, kinds: Float32[np.ndarray, " 2"], votes: int) -> None:
        """Warn if most pairs are ties or both bad; DataError if all to train on are: no leaderboard can be learned."""
        share = float(kinds.sum()) / votes
        if share < _FEW_DECIDED:
            return
        found = self.measured[name]
        scores = found.score[found.weight > 0]
        rule = f"tie_within={self.rule.tie_within:g} and bad_below={self.rule.bad_below}"
        problem = (
            f"{name}: {share:.1%} of the pairs are ties or both bad, with data.rule.{rule}; the scores are "
            f"{scores.min():g} to {scores.max():g}, their median {np.median(scores):g}"
        )
        if share == 1 and name == "train":
            raise DataError(f"{problem}. No model beats another; choose the rule on the scale of the scores")
        log.warning("%s", problem)

    def _source(self, scores: str, split: str | None) -> MeasuredSource:
        return MeasuredSource(
            scores,
            self.prompts,
            key=self.key,
            model_column=self.model_column,
            score_column=self.score_column,
            cost_column=self.cost_column,
            per=1.0,
            split=split,
            with_costs=self.cost_column is not None,
            above_zero=self.predicts_costs,
        )


def hold_out(measured: MeasuredScores, share: float, seed: int) -> tuple[MeasuredScores, MeasuredScores]:
    """Return the scores of the prompts to train on, and of a random share of the prompts.

    Prompts of several keys that differ only in case and spaces are one, and lie on one side.
    """
    group = prompt_groups(measured.prompts)
    prompts = int(group.max(initial=-1)) + 1
    order = np.random.default_rng(seed).permutation(prompts)
    count = round(share * prompts)
    if not 0 < count < prompts:
        raise DataError(f"no prompt is left to hold out or to train on: {share:.2%} of {prompts} prompts")
    held_out = np.isin(group, order[:count])
    return measured.rows(np.flatnonzero(~held_out)), measured.rows(np.flatnonzero(held_out))


def _over(measured: MeasuredScores, models: tuple[str, ...], name: str) -> MeasuredScores:
    """Return the scores of the LLMs of the training scores; log the others."""
    if unknown := sorted(set(measured.models) - set(models)):
        log.warning("the %s scores of models without training scores are left out: %s", name, ", ".join(unknown))
    kept = [model for model in models if model in measured.models]
    if not kept:
        raise DataError(f"the {name} scores have no model of the training scores")
    found = measured.among(kept)
    at = [models.index(model) for model in kept]
    score, weight = np.zeros((len(found), len(models))), np.zeros((len(found), len(models)))
    cost, cost_known = np.full_like(score, np.nan), np.zeros(score.shape, dtype=bool)
    score[:, at], weight[:, at], cost[:, at] = found.score, found.weight, found.cost
    cost_known[:, at] = found.cost_known is not None and found.cost_known
    return MeasuredScores(models, found.prompts, score, weight, cost, cost_known)


def _is_among_largest(keys: Float64[np.ndarray, "prompts pairs"], count: int) -> np.ndarray:
    """Mark the ``count`` largest of each row."""
    chosen = np.argpartition(keys, -count, axis=1)[:, -count:]
    marks = np.zeros(keys.shape, dtype=bool)
    np.put_along_axis(marks, chosen, True, axis=1)
    return marks


def _vote_table(
    measured: MeasuredScores,
    prompt: Int64[np.ndarray, " pairs"],
    a: Int64[np.ndarray, " pairs"],
    b: Int64[np.ndarray, " pairs"],
    shares: Float32[np.ndarray, "pairs 4"],
    models: tuple[str, ...] | None,
) -> VoteTable:
    """Build the table from arrays; each vote of a prompt shares its text."""
    models = models or measured.models
    place = np.array([models.index(model) for model in measured.models])
    used, prompt_index = np.unique(prompt, return_inverse=True)
    prompts = tuple(measured.prompts[one] for one in used)
    texts = np.empty(len(prompts), dtype=object)
    texts[:] = [list(turns) for turns in prompts]
    names = np.array(models, dtype=object)
    frame = pd.DataFrame({"prompt": texts[prompt_index], "model_a": names[place[a]], "model_b": names[place[b]]})
    frame["winner"] = np.array([one.value for one in OUTCOMES], dtype=object)[shares.argmax(axis=1)]
    frame[list(SOFT_COLUMNS)] = shares
    return VoteTable(
        prompts=prompts,
        prompt_index=prompt_index.astype(np.int64),
        model_a=place[a],
        model_b=place[b],
        outcome_shares=shares,
        weight=np.ones(len(frame), dtype=np.float32),
        models=models,
        frame=frame,
    )
