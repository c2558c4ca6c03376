"""Shrink a prompt's predicted scores toward the general ones, so that the argmax does not select prediction errors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
from jaxtyping import Float64

from p2l.errors import ConfigError, DataError
from p2l.files import write_whole
from p2l.routing.evaluation.measured_scores import MeasuredScores
from p2l.routing.scores import Optimizer

RIDGES = (
    np.inf,
    *np.geomspace(100.0, 1e-4, 13).tolist(),
)  # relative to the mean eigenvalue; inf: general scores
_KEYS = ("optimizer", "models", "prior", "center", "slope")


@final
@dataclass(frozen=True, eq=False)
class Shrinkage:
    """score = prior + slope (predicted - center), on the scale of the measured scores.

    The best of many noisy predictions is often the luckiest. This is the linear empirical-Bayes estimate of each LLM's
    score, given the predictions for all LLMs: a ridge regression of measured on predicted scores (several responses:
    Breiman and Friedman 1997, doi:10.1111/1467-9868.00054), shrunk toward one common slope on each LLM's own
    prediction, or toward 0. If predictions did not help on other prompts the slope is 0, and every prompt gets the
    general scores. The argmax of expected values is at least as good as the best LLM alone, up to estimation error.

    Attributes:
        optimizer: whose scores are predicted (``p2l.routing.scores``); ``strict`` and ``simple-lp`` have the same.
        models: the LLMs.
        prior: the mean measured score of each.
        center: the mean predicted score of each.
        slope: row i holds what a unit of each prediction adds to the score of LLM i.
    """

    optimizer: Optimizer
    models: tuple[str, ...]
    prior: Float64[np.ndarray, " models"]
    center: Float64[np.ndarray, " models"]
    slope: Float64[np.ndarray, "models models"]

    @classmethod
    def fit(
        cls,
        optimizer: Optimizer,
        predicted: Float64[np.ndarray, "prompts models"],
        measured: MeasuredScores,
        general: Float64[np.ndarray, " models"] | None = None,
    ) -> "Shrinkage":
        """Fit to prompts that the predictions were not fitted to.

        The common slope (0 or that of least squares) and the ridge for all LLMs minimise the leave-one-out error of the
        differences between LLMs on a prompt. ``general``: mean scores of the LLMs from more prompts, if known; those of
        the training prompts serve too. Raises DataError if an LLM has fewer than two scores.
        """
        few = [model for model, known in zip(measured.models, (measured.weight > 0).sum(axis=0)) if known < 2]
        if few:
            raise DataError(
                f"each LLM needs two scores or more to fit the shrinkage; these have fewer: {', '.join(few)}"
            )
        center = predicted.mean(axis=0)
        columns = [_Column.of(predicted - center, measured, at) for at in range(len(measured.models))]
        starts = (0.0, _common_slope(columns, measured.weight))
        beyond = {start: [column.beyond(start) for column in columns] for start in starts}
        tried = {
            (start, ridge): _left_out(rest, measured.weight, ridge)
            for start, rest in beyond.items()
            for ridge in RIDGES
        }
        start, ridge = min(tried, key=tried.__getitem__)
        slope = start * np.eye(len(columns)) + np.stack([column.slope(ridge) for column in beyond[start]])
        prior = np.array([column.score - row @ column.mean for column, row in zip(columns, slope)])
        if general is not None:
            prior = np.where(np.isfinite(general), general, prior)
        return cls(optimizer, measured.models, prior, center, slope)

    def __call__(self, predicted: Float64[np.ndarray, "*batch models"]) -> Float64[np.ndarray, "*batch models"]:
        """Return the expected scores of prompts with these predictions."""
        return self.prior + (predicted - self.center) @ self.slope.T

    def aligned(self, names: Sequence[str]) -> "Shrinkage":
        """Return the shrinkage for predictions of the models ``names``; an unknown model gets the score NaN."""
        if lacking := [model for model in self.models if model not in names]:
            raise ConfigError(
                f"the shrinkage needs scores of {', '.join(lacking)}, which the P2L model does not rank; "
                "the file was made for a P2L model with other models"
            )
        at = np.array([names.index(model) for model in self.models])
        prior, center, slope = np.full(len(names), np.nan), np.zeros(len(names)), np.zeros((len(names), len(names)))
        prior[at], center[at], slope[np.ix_(at, at)] = self.prior, self.center, self.slope
        return replace(self, models=tuple(names), prior=prior, center=center, slope=slope)

    def check(self, optimizer: Optimizer, alike: bool) -> None:
        """Raise ConfigError if the shrinkage was fitted to other scores than the router's.

        ``alike``: whether all opponents have the same weight.
        """
        if (self.optimizer == "optimal-lp") != (optimizer == "optimal-lp"):
            raise ConfigError(
                f"shrinkage: it was fitted to scores of {self.optimizer}; the router's are of {optimizer}"
            )
        if optimizer == "optimal-lp" and not alike:
            raise ConfigError("shrinkage: it was fitted to win rates against all models alike; leave out opponents")

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        numbers = {name: getattr(self, name).tolist() for name in ("prior", "center", "slope")}
        with write_whole(path) as file:
            json.dump({"optimizer": self.optimizer, "models": self.models, **numbers}, file, indent=1, allow_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> "Shrinkage":
        """Read a file that ``save`` wrote; ConfigError if it is not valid."""
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"the shrinkage file {path} cannot be read ({error})") from error
        if not isinstance(raw, dict) or set(raw) != set(_KEYS):
            raise ConfigError(
                f"the shrinkage file {path} must have {', '.join(_KEYS)}, as scripts/route_eval.py writes them"
            )
        optimizer, models = raw["optimizer"], raw["models"]
        if optimizer not in get_args(Optimizer):
            raise ConfigError(f"{path}: optimizer must be one of {', '.join(get_args(Optimizer))}")
        if not _are_names(models):
            raise ConfigError(f"{path}: models must be names that differ")
        size = len(models)
        shapes: dict[str, tuple[int, ...]] = {"prior": (size,), "center": (size,), "slope": (size, size)}
        return cls(
            optimizer, tuple(models), *(_numbers(raw[name], shape, f"{path}: {name}") for name, shape in shapes.items())
        )


def _are_names(models: Any) -> bool:
    named = isinstance(models, list) and len(models) > 0 and all(isinstance(model, str) for model in models)
    return named and len(set(models)) == len(models)


def _numbers(values: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        numbers = np.empty(0)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ConfigError(f"{where} must be {' x '.join(map(str, shape))} finite numbers, as many as models")
    return numbers


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
