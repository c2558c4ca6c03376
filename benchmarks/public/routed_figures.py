"""Figures of a test part: explained scores, choice of the best LLM, and quality at mean budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from predictions import Predictions, squared_errors
from public_tables import Part
from spend_budgets import Spent, known_prices, measure, stream

from p2l.data.measured_scores import MeasuredScores
from p2l.routing.evaluation.curves import Curve, interval
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums

P2L, BLEND = "p2l, frozen backbone", "p2l, mean with neighbours"
END, BOTH = "p2l, end to end", "p2l, mean of end to end and frozen"
OURS = (P2L, BLEND, END, BOTH)
RIDGE, NEIGHBOURS = "ridge", "nearest neighbours"
AS_FITTED, RECALIBRATED = f"{P2L}: as fitted", f"{P2L}: recalibrated"
GAP_DRAWS = 500
RANDOM, BEST_SINGLE, BEST_ANSWER = "random LLM", "best single LLM", "oracle"


@dataclass(frozen=True)
class Row:
    """A figure of one method, and that of ours minus it, on the same prompts."""

    name: str
    value: Interval
    gain: Interval | None = None


def explained(test: MeasuredScores, predicted: np.ndarray) -> Interval:
    """Return R2 of the predicted scores; each LLM's mean on the test explains 0."""
    errors = squared_errors(test, predicted)
    (drawn,) = resampled_sums(errors)
    total = errors.sum(axis=0)
    return percentile_interval(1 - total[0] / total[1], 1 - drawn[:, 0] / drawn[:, 1])


def choices(predicted: Mapping[str, np.ndarray], fit: MeasuredScores, part: Part, ours: str) -> list[Row]:
    """Return the mean over tasks of the mean score, when each prompt goes to the LLM with the best prediction."""
    test, known = part.measured, part.measured.weight > 0
    shares = {name: _one_hot(np.where(known, one, -np.inf)) for name, one in predicted.items()}
    single = np.tile(fit.mean_score(), (len(test), 1))
    shares[BEST_SINGLE] = _one_hot(np.where(known, single, -np.inf))
    shares[RANDOM] = known / known.sum(axis=1, keepdims=True)
    shares[BEST_ANSWER] = _one_hot(np.where(known, test.score, -np.inf))
    draws = {name: _mean_over_tasks((share * test.score).sum(axis=1), part.group) for name, share in shares.items()}
    return [
        Row(name, interval(one), None if name == ours else interval(draws[ours] - one)) for name, one in draws.items()
    ]


def _one_hot(values: np.ndarray) -> np.ndarray:
    found = np.zeros(values.shape)
    found[np.arange(len(values)), values.argmax(axis=1)] = 1.0
    return found


def _mean_over_tasks(value: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the mean over tasks; entry 0 is of all prompts, the others of prompts drawn with replacement."""
    member = (group[:, None] == np.unique(group)).astype(np.float64)
    columns = np.concatenate((member * value[:, None], member), axis=1)
    (drawn,) = resampled_sums(columns)
    total, count = np.split(np.concatenate((columns.sum(axis=0, keepdims=True), drawn)), 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may miss a small task
        return np.nanmean(total / count, axis=1)


def recovered_gap(test: MeasuredScores, predicted: np.ndarray) -> Interval:
    """Return the mean share of the gap between two LLMs that is recovered, over all shares of calls of the better one.

    The better LLM gets the prompts with the largest predicted gain; at random it is 0.5. Source: APGR of RouteLLM, Ong
    et al. 2024 (arXiv:2406.18665).
    """
    strong = int(test.mean_score().argmax())
    order = np.argsort(predicted[:, 1 - strong] - predicted[:, strong], kind="stable")
    gain = (test.score[:, strong] - test.score[:, 1 - strong])[order]
    counts = np.random.default_rng(0).multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=GAP_DRAWS)
    draws = np.concatenate((np.ones((1, len(gain))), counts))
    recovered = np.cumsum(draws * gain, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no gap
        return interval((recovered * draws).sum(axis=1) / (recovered[:, -1] * len(gain)))


@dataclass(frozen=True, eq=False)
class BudgetFigures:
    """Streams by several predictions, the mixture and the oracle, at mean budgets."""

    budgets: tuple[float, ...]
    curves: Mapping[str, Curve]
    over: Mapping[str, np.ndarray]

    def quality(self, name: str, at: int) -> np.ndarray:
        """Return the mean score at a budget: draw 0 of all prompts, then of resampled ones."""
        return self.curves[name].quality[:, at]

    def gain(self, first: str, second: str, at: int) -> Interval:
        return interval(self.quality(first, at) - self.quality(second, at))

    def above(self, name: str, value: float, at: int) -> Interval:
        """Return the mean score at a budget minus a published one."""
        return interval(self.quality(name, at) - value)

    def overspent(self, name: str, at: int) -> float:
        """Return the mean over orders of the mean cost over the budget, minus 1."""
        return float(self.over[name][:, at].mean())

    def numbers(self) -> dict[str, Any]:
        """Return the curves and the overspending of each order, ready for JSON."""
        tables = {name: curve.table().replace(np.nan, None).to_dict("list") for name, curve in self.curves.items()}
        return {"curves": tables, "over": {name: one.tolist() for name, one in self.over.items()}}


def spend(
    predicted: Mapping[str, Predictions],
    costs: Predictions,
    fit: MeasuredScores,
    tests: Mapping[str, MeasuredScores],
    budgets: Sequence[float],
) -> dict[str, BudgetFigures]:
    """Find each prediction's price on the prompts to fit, then run the streams over each test."""
    prices = {name: known_prices(one.fit, costs.fit, fit, budgets) for name, one in predicted.items()}
    found = {}
    for part, test in tests.items():
        spent: dict[str, Spent] = {
            name: stream(one.tests[part], costs.tests[part], test.cost, budgets, prices[name])
            for name, one in predicted.items()
        }
        over = {name: one.over for name, one in spent.items()}
        found[part] = BudgetFigures(tuple(budgets), measure(spent, test, budgets), over)
    return found
