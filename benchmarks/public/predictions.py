"""Predicted scores or costs of the prompts to fit (cross-fitted) and to test, and their errors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from public_tables import Part

from p2l.data.measured_scores import MeasuredScores

FOLDS = 5
Error = Callable[[np.ndarray], float]  # of the predicted scores of the prompts to fit


@dataclass(frozen=True, eq=False)
class Predictions:
    """Values for each prompt and LLM; those of the prompts to fit are by models that did not see the prompt."""

    fit: np.ndarray
    tests: Mapping[str, np.ndarray]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class UnitRange:
    """Maps the range of the scores to [0, 1]; scores within it already stay as they are."""

    low: float
    high: float

    @classmethod
    def of(cls, fit: MeasuredScores) -> "UnitRange":
        known = fit.score[fit.weight > 0]
        return cls(min(0.0, float(known.min())), max(1.0, float(known.max())))

    def __call__(self, score: np.ndarray) -> np.ndarray:
        return np.clip((score - self.low) / (self.high - self.low), 0.0, 1.0)

    def score(self, share: np.ndarray) -> np.ndarray:
        """Return the score of a share of the range."""
        return self.low + (self.high - self.low) * share


def fold_numbers(count: int, folds: int = FOLDS) -> np.ndarray:
    """Return the fold of each prompt, always the same."""
    return np.random.default_rng(0).permutation(count) % min(folds, count)


def error_of(fit: Part, has_costs: bool) -> Error:
    """Return what options are chosen by: with costs the error of the scores, else the routed score.

    A budget needs levels and differences of scores, the choice of the best LLM only their order.
    """
    return partial(relative_error, fit.measured) if has_costs else partial(routed_loss, fit)


def routed_loss(part: Part, predicted: np.ndarray) -> float:
    """Return minus the mean over tasks of the mean score, each prompt going to the LLM predicted best."""
    known = np.where(part.measured.weight > 0, predicted, -np.inf)
    score = part.measured.score[np.arange(len(part)), known.argmax(axis=1)]
    return -float(pd.Series(score).groupby(part.group).mean().mean())


def relative_error(measured: MeasuredScores, predicted: np.ndarray) -> float:
    """Return the unexplained shares of prompts' mean scores and of differences between LLMs, added: 2 explains nothing.

    Routing needs the differences, the level of a score both.
    """
    truth, weight = measured.score - measured.mean_score(), measured.weight
    found = predicted - measured.mean_score()
    error, least = (
        0.0,
        1e-6 * (weight * truth**2).sum() + 1e-300,
    )  # LLMs that never differ have no differences to explain
    for part in (_prompt_mean, _difference):
        true, ours = part(truth, weight), part(found, weight)
        error += float((weight * (true - ours) ** 2).sum() / max((weight * true**2).sum(), least))
    return error


def _prompt_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    return np.broadcast_to((values * weight).sum(axis=1, keepdims=True) / total, values.shape)


def _difference(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return values - _prompt_mean(values, weight)


def squared_errors(measured: MeasuredScores, predicted: np.ndarray) -> np.ndarray:
    """Return for each prompt the squared error of its scores, and that of each LLM's mean; their ratio gives R2."""
    columns = (predicted, np.broadcast_to(measured.mean_score(), predicted.shape))
    return np.stack([(measured.weight * (measured.score - one) ** 2).sum(axis=1) for one in columns], axis=1)
