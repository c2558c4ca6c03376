"""Which of two LLMs is better on a prompt: predictions for it beside one leaderboard, and one of each task."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from predictions import Predictions, fold_numbers
from public_tables import Part

from p2l.data.measured_scores import MeasuredScores
from p2l.routing.evaluation.curves import interval
from p2l.statistics.bootstrap import Interval, resampled_sums

MARGINAL, BY_TASK = "one leaderboard", "a leaderboard of each task"
MOST_TASKS = 20  # shown one by one
BLOCK = 1 << 22  # pairs of LLMs compared at once: bounds the memory


@dataclass(frozen=True)
class Ordered:
    """Share of the pairs of LLMs with different scores on a prompt that a method orders right."""

    task: str
    prompts: int
    value: Interval
    others: Mapping[str, Interval]
    gains: Mapping[str, Interval]


def leaderboards(fit: Part, tests: Mapping[str, Part]) -> dict[str, Predictions]:
    """Return mean scores of the LLMs as predictions: of all prompts, and of each task if there are several.

    A task's leaderboard knows the task, which methods that see the prompt alone must guess. LLMs without scores in a
    task have their mean over all.
    """
    methods = [MARGINAL, BY_TASK] if len(np.unique(fit.group)) > 1 else [MARGINAL]
    return {name: _leaderboard(fit, tests, by_task=name == BY_TASK) for name in methods}


def _leaderboard(fit: Part, tests: Mapping[str, Part], by_task: bool) -> Predictions:
    folds, crossed = fold_numbers(len(fit)), np.zeros(fit.measured.score.shape)
    for fold in range(folds.max() + 1):
        train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        crossed[held_out] = _means(fit.measured.rows(train), fit.group[train], fit.group[held_out], by_task)
    found = {name: _means(fit.measured, fit.group, part.group, by_task) for name, part in tests.items()}
    return Predictions(crossed, found, {})


def _means(measured: MeasuredScores, group: np.ndarray, other: np.ndarray, by_task: bool) -> np.ndarray:
    general = measured.mean_score()
    found = np.tile(general, (len(other), 1))
    for task in np.unique(group) if by_task else ():
        own = measured.rows(np.flatnonzero(group == task)).mean_score()
        found[other == task] = np.where(np.isnan(own), general, own)
    return found


def ordered_pairs(test: MeasuredScores, predicted: np.ndarray) -> np.ndarray:
    """Return the number of pairs ordered right (a tie is half) on each prompt, and of pairs with different scores."""
    first, second = np.triu_indices(len(test.models), 1)
    found = np.zeros((len(test), 2))
    size = max(1, BLOCK // len(first))
    for start in range(0, len(test), size):
        rows = slice(start, start + size)
        score, weight, ours = test.score[rows], test.weight[rows] > 0, predicted[rows]
        truth = np.sign(score[:, first] - score[:, second]) * (weight[:, first] & weight[:, second])
        agreed = truth * np.sign(ours[:, first] - ours[:, second])
        found[rows, 1] = np.abs(truth).sum(axis=1)
        found[rows, 0] = (agreed.sum(axis=1) + found[rows, 1]) / 2
    return found


def ordered_by_task(part: Part, ours: np.ndarray, others: Mapping[str, np.ndarray]) -> list[Ordered]:
    """Return the share of ours and of the others, of all prompts and of each task, if there are not too many."""
    columns = np.concatenate([ordered_pairs(part.measured, one) for one in (ours, *others.values())], axis=1)
    tasks = np.unique(part.group)
    parts = {"all": np.arange(len(part))}
    if 1 < len(tasks) <= MOST_TASKS:
        parts |= {str(task): np.flatnonzero(part.group == task) for task in tasks}
    rows = [_row(task, columns[at], list(others)) for task, at in parts.items() if columns[at, 1].any()]
    return [row for row in rows if np.isfinite(row.value.low)]


def _row(task: str, columns: np.ndarray, names: list[str]) -> Ordered:
    (drawn,) = resampled_sums(columns)
    sums = np.concatenate((columns.sum(axis=0, keepdims=True), drawn))
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no pair with different scores
        share = sums[:, ::2] / sums[:, 1::2]
    others = {name: interval(share[:, at]) for at, name in enumerate(names, 1)}
    gains = {name: interval(share[:, 0] - share[:, at]) for at, name in enumerate(names, 1)}
    return Ordered(task, len(columns), interval(share[:, 0]), others, gains)
