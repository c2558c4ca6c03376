"""Judge a policy by the decisions of another one, which logged how likely each of its choices was."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from p2l.errors import DataError
from p2l.options import check_level
from p2l.statistics.bootstrap import Interval
from p2l.statistics.intervals import student_quantile

FOLDS = 5
_RIDGE = 1.0  # pieces of feedback that pull each model's mean to that of all


@dataclass(frozen=True, eq=False)
class LoggedRewards:
    """Decisions of a policy that drew its choice, with the reward of what it chose.

    Attributes:
        chosen: index of the model.
        propensity: of each model before the draw, which chose by them.
        reward: of the chosen model.
        score: predicted before the decision, of each model.
        cluster: decisions that are not independent of each other have the same number, from 0.
    """

    chosen: Int64[np.ndarray, " decisions"]
    propensity: Float64[np.ndarray, "decisions models"]
    reward: Float64[np.ndarray, " decisions"]
    score: Float64[np.ndarray, "decisions models"]
    cluster: Int64[np.ndarray, " decisions"]

    def __post_init__(self) -> None:
        if not len(self.chosen):
            raise DataError("no decision has both propensities and a reward")
        drawn = self.propensity[np.arange(len(self.chosen)), self.chosen]
        if not (drawn > 0).all():
            raise DataError(f"a chosen model needs a propensity above 0; decision {int((drawn <= 0).argmax())} has 0")
        if not np.isfinite(self.reward).all():
            raise DataError("rewards must be finite numbers")

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass(frozen=True)
class PolicyValue:
    """The mean reward that a policy would have had, by three estimators, each with its interval.

    Attributes:
        ips: inverse propensity: the mean of weight x reward; unbiased if the log could choose all that the policy does.
        self_normalised: the same divided by the mean weight: hardly biased, less noisy.
        doubly_robust: predicted rewards, corrected by the weighted errors of the prediction; unbiased as the first.
        gain: the last minus the mean reward that was logged, paired.
        effective: number of decisions that as many equal weights would be worth.
        largest_weight: of a decision.
        unsupported: share of the policy's choices that the log could not make: the estimates lack these or, in the
            doubly robust one, rest on the prediction alone.
    """

    ips: Interval
    self_normalised: Interval
    doubly_robust: Interval
    gain: Interval
    effective: float
    largest_weight: float
    unsupported: float


def policy_value(
    logged: LoggedRewards, policy: Float64[np.ndarray, "decisions models"], level: float = 0.95
) -> PolicyValue:
    """Estimate what a policy, given as its probabilities at each decision, would have earned.

    The prediction of the doubly robust estimator is fitted to other clusters than those it is used on. Intervals are
    Student's over clusters, by the influence of each (Dudik, Langford and Li 2011, arXiv:1103.4601; Swaminathan and
    Joachims 2015).
    """
    check_level(level)
    rows = np.arange(len(logged))
    weight = policy[rows, logged.chosen] / logged.propensity[rows, logged.chosen]
    predicted = cross_fitted_rewards(logged)
    weighted = weight * logged.reward
    ratio = weighted.sum() / max(weight.sum(), 1e-300)
    corrected = (policy * predicted).sum(1) + weight * (logged.reward - predicted[rows, logged.chosen])
    return PolicyValue(
        ips=_interval(weighted, logged.cluster, level),
        self_normalised=_around(ratio, weight * (logged.reward - ratio) / max(weight.mean(), 1e-300), logged, level),
        doubly_robust=_interval(corrected, logged.cluster, level),
        gain=_interval(corrected - logged.reward, logged.cluster, level),
        effective=float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300)),
        largest_weight=float(weight.max()),
        unsupported=float((policy * (logged.propensity <= 0)).sum(1).mean()),
    )


def cross_fitted_rewards(logged: LoggedRewards) -> Float64[np.ndarray, "decisions models"]:
    """Predict the reward of each model by its recorded score and its own level, from the other folds of clusters."""
    found = np.empty_like(logged.score)
    fold = logged.cluster % min(FOLDS, logged.cluster.max() + 1)
    for one in np.unique(fold):
        inside = fold == one
        others = ~inside if (~inside).any() else inside
        found[inside] = _LinearRewards(logged, np.flatnonzero(others))(logged.score[inside])
    return found


class _LinearRewards:
    """Least squares: reward = level of the model + slope x (score - mean score), levels shrunk to the mean."""

    def __init__(self, logged: LoggedRewards, rows: Int64[np.ndarray, " some"]) -> None:
        models, score = logged.score.shape[1], logged.score[rows, logged.chosen[rows]]
        self.centre = score.mean()
        self.mean = logged.reward[rows].mean()
        design = np.zeros((len(rows), models + 1))
        design[np.arange(len(rows)), logged.chosen[rows]] = 1
        design[:, -1] = score - self.centre
        square = design.T @ design + np.diag([_RIDGE] * models + [1e-3])
        self.weights = np.linalg.solve(square, design.T @ (logged.reward[rows] - self.mean))

    def __call__(self, score: Float64[np.ndarray, "some models"]) -> Float64[np.ndarray, "some models"]:
        return self.mean + self.weights[:-1] + self.weights[-1] * (score - self.centre)


def _interval(values: Float64[np.ndarray, " decisions"], cluster: np.ndarray, level: float) -> Interval:
    mean = float(values.mean())
    half = _half_width(values - mean, cluster, level)
    return Interval(mean, mean - half, mean + half)


def _around(value: float, influence: np.ndarray, logged: LoggedRewards, level: float) -> Interval:
    half = _half_width(influence, logged.cluster, level)
    return Interval(float(value), float(value - half), float(value + half))


def _half_width(influence: Float64[np.ndarray, " decisions"], cluster: np.ndarray, level: float) -> float:
    sums = np.bincount(cluster, weights=influence)
    count = len(sums)
    if count < 2:
        return float("nan")
    error = np.sqrt((sums**2).sum() * count / (count - 1)) / len(influence)
    return student_quantile(level, count) * float(error)
