"""Fit the shrinkage of predicted scores to measured ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.shrinkage import Shrinkage

RIDGES = (
    np.inf,
    *np.geomspace(100.0, 1e-4, 13).tolist(),
)  # relative to the mean eigenvalue; inf: general scores


def fit_shrinkage(
    optimizer: Optimizer,
    predicted: Float64[np.ndarray, "prompts models"],
    measured: MeasuredScores,
    general: Float64[np.ndarray, " models"] | None = None,
) -> Shrinkage:
    """Fit to prompts that the predictions were not fitted to.

    The common slope (0 or that of least squares) and the ridge for all LLMs minimise the leave-one-out error of the
    differences between LLMs on a prompt. ``general``: mean scores of the LLMs from more prompts, if known; those of
    the training prompts serve too. Raises DataError if an LLM has fewer than two scores.
    """
    few = [model for model, known in zip(measured.models, (measured.weight > 0).sum(axis=0)) if known < 2]
    if few:
        raise DataError(f"each LLM needs two scores or more to fit the shrinkage; these have fewer: {', '.join(few)}")
    center = predicted.mean(axis=0)
    columns = [_Column.of(predicted - center, measured, at) for at in range(len(measured.models))]
    starts = (0.0, _common_slope(columns, measured.weight))
    beyond = {start: [column.beyond(start) for column in columns] for start in starts}
    tried = {
        (start, ridge): _left_out(rest, measured.weight, ridge) for start, rest in beyond.items() for ridge in RIDGES
    }
    start, ridge = min(tried, key=tried.__getitem__)
    slope = start * np.eye(len(columns)) + np.stack([column.slope(ridge) for column in beyond[start]])
    prior = np.array([column.score - row @ column.mean for column, row in zip(columns, slope)])
    if general is not None:
        prior = np.where(np.isfinite(general), general, prior)
    return Shrinkage(optimizer, measured.models, prior, center, slope)


def _common_slope(columns: Sequence["_Column"], weight: np.ndarray) -> float:
    """Return the slope on an LLM's own prediction, by least squares on the differences; at least 0."""
    predicted, measured = (
        _differences([getattr(c, name) for c in columns], columns, weight) for name in ("own", "rest")
    )
    square = float((weight * predicted**2).sum())
    return max(0.0, float((weight * predicted * measured).sum()) / square) if square > 0 else 0.0


def _left_out(columns: Sequence["_Column"], weight: np.ndarray, ridge: float) -> float:
    """Return the squared leave-one-out error of the differences between LLMs."""
    return float((weight * _differences([c.left_out(ridge) for c in columns], columns, weight) ** 2).sum())


def _differences(values: Sequence[np.ndarray], columns: Sequence["_Column"], weight: np.ndarray) -> np.ndarray:
    """Return a table of the values minus the mean of each prompt; 0 if unknown."""
    table = np.zeros(weight.shape)
    for at, (column, value) in enumerate(zip(columns, values)):
        table[column.known, at] = value
    mean = (table * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
    return np.where(weight > 0, table - mean[:, None], 0.0)


@dataclass(frozen=True, eq=False)
class _Column:
    """The ridge regression of one LLM's measured scores on all predictions, decomposed for any ridge."""

    known: np.ndarray  # which prompts
    weight: np.ndarray
    mean: np.ndarray  # of the predictions
    score: float  # mean measured score
    rest: np.ndarray  # measured scores minus it
    own: np.ndarray  # the LLM's own predictions minus their mean
    values: np.ndarray  # eigenvalues of the predictions' second moments
    vectors: np.ndarray
    parts: np.ndarray  # the predictions along the eigenvectors

    @classmethod
    def of(cls, predicted: np.ndarray, measured: MeasuredScores, at: int) -> "_Column":
        known = measured.weight[:, at] > 0
        weight, score, x = measured.weight[known, at], measured.score[known, at], predicted[known]
        mean, level = np.average(x, axis=0, weights=weight), float(np.average(score, weights=weight))
        x = x - mean
        values, vectors = np.linalg.eigh((x * weight[:, None]).T @ x)
        return cls(known, weight, mean, level, score - level, x[:, at], values, vectors, x @ vectors)

    def beyond(self, slope: float) -> "_Column":
        """Return the regression of what remains after a slope on the LLM's own prediction."""
        return replace(self, rest=self.rest - slope * self.own)

    def _along(self, ridge: float) -> np.ndarray:
        """Return 1 / (eigenvalue + ridge); 0 if predictions never differ."""
        scale = self.values.mean()
        return 1 / (self.values + ridge * scale) if scale > 0 else np.zeros_like(self.values)

    def _slope_along(self, ridge: float) -> np.ndarray:
        """Return the slope along each eigenvector."""
        return self._along(ridge) * (self.parts.T @ (self.weight * self.rest))

    def slope(self, ridge: float) -> np.ndarray:
        return self.vectors @ self._slope_along(ridge)

    def left_out(self, ridge: float) -> np.ndarray:
        """Return the error on each known prompt of a fit to the other prompts."""
        leverage = self.weight * (1 / self.weight.sum() + self.parts**2 @ self._along(ridge))
        return (self.rest - self.parts @ self._slope_along(ridge)) / (1 - leverage)
