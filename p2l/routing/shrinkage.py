"""Shrink a prompt's predicted scores toward the general ones, so that their argmax does not choose their errors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
from jaxtyping import Float64

from p2l.errors import ConfigError, DataError
from p2l.files import write_whole
from p2l.routing.evaluation.measured_scores import Measured
from p2l.routing.scores import Optimizer

RIDGES = (np.inf, *np.geomspace(100.0, 1e-4, 13).tolist())  # of the mean eigenvalue; inf: the general scores alone
_KEYS = ("optimizer", "models", "prior", "center", "slope")


@final
@dataclass(frozen=True, eq=False)
class Shrinkage:
    """score = prior + slope (predicted - center), on the scale of the measured scores.

    The best of many noisy predictions is often the luckiest. This is the linear empirical-Bayes estimate of what the
    answer of each LLM is worth, given the predictions for all of them: a ridge regression of measured on predicted
    scores (of several responses: Breiman and Friedman 1997, doi:10.1111/1467-9868.00054), drawn toward one slope for
    all LLMs, each by its own prediction, or toward none. Where predictions told nothing on other prompts the slope is
    0, and every prompt gets the general scores. The argmax of expected values is not worse than the best LLM alone,
    but for the errors of the estimate.

    Attributes:
        optimizer: whose scores are predicted (``p2l.routing.scores``); ``strict`` and ``simple-lp`` share theirs.
        models: the LLMs.
        prior: the mean measured score of each.
        center: the mean predicted score of each.
        slope: row i: what a unit of each prediction adds to the score of LLM i.
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
        measured: Measured,
        general: Float64[np.ndarray, " models"] | None = None,
    ) -> "Shrinkage":
        """From prompts that the predictions were not fitted to; ``DataError`` where an LLM has fewer than two scores.

        The common slope, none or that of least squares, and one ridge for all LLMs are those of the least
        leave-one-out error of the differences between LLMs on a prompt.
        ``general``: the LLMs' mean scores, where more prompts tell them than these: those trained on serve too.
        """
        few = [model for model, known in zip(measured.models, (measured.weight > 0).sum(axis=0)) if known < 2]
        if few:
            raise DataError(
                f"two scores or more of each LLM are needed to shrink by; there are fewer of {', '.join(few)}"
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
        """The expected scores of prompts with these predictions."""
        return self.prior + (predicted - self.center) @ self.slope.T

    def aligned(self, names: Sequence[str]) -> "Shrinkage":
        """The same for predictions of the models ``names``; the score of one that it does not know is NaN."""
        if lacking := [model for model in self.models if model not in names]:
            raise ConfigError(
                f"the shrinkage rests on scores of {', '.join(lacking)}, which the P2L model does not rank; "
                "it ranks other models than the one the file was made for"
            )
        at = np.array([names.index(model) for model in self.models])
        prior, center, slope = np.full(len(names), np.nan), np.zeros(len(names)), np.zeros((len(names), len(names)))
        prior[at], center[at], slope[np.ix_(at, at)] = self.prior, self.center, self.slope
        return replace(self, models=tuple(names), prior=prior, center=center, slope=slope)

    def check(self, optimizer: Optimizer, alike: bool) -> None:
        """Raise ``ConfigError`` where a router's scores are others than those that were shrunk.

        ``alike``: whether its opponents are.
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
        """Read what ``save`` wrote; ``ConfigError`` says what is wrong with a file."""
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
    """What a unit of an LLM's own prediction adds to its score, by least squares on the differences; at least 0."""
    told, found = (_differences([getattr(c, name) for c in columns], columns, weight) for name in ("own", "rest"))
    square = float((weight * told**2).sum())
    return max(0.0, float((weight * told * found).sum()) / square) if square > 0 else 0.0


def _left_out(columns: Sequence["_Column"], weight: np.ndarray, ridge: float) -> float:
    """The squared leave-one-out error of the differences between LLMs."""
    return float((weight * _differences([c.left_out(ridge) for c in columns], columns, weight) ** 2).sum())


def _differences(values: Sequence[np.ndarray], columns: Sequence["_Column"], weight: np.ndarray) -> np.ndarray:
    """Values of each LLM's known prompts as a table, from which the mean of each prompt is taken; 0 where unknown."""
    table = np.zeros(weight.shape)
    for at, (column, value) in enumerate(zip(columns, values)):
        table[column.known, at] = value
    mean = (table * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
    return np.where(weight > 0, table - mean[:, None], 0.0)


@dataclass(frozen=True, eq=False)
class _Column:
    """The ridge regression of one LLM's measured scores on all predictions, for every ridge at once."""

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
    def of(cls, predicted: np.ndarray, measured: Measured, at: int) -> "_Column":
        known = measured.weight[:, at] > 0
        weight, score, x = measured.weight[known, at], measured.score[known, at], predicted[known]
        mean, level = np.average(x, axis=0, weights=weight), float(np.average(score, weights=weight))
        x = x - mean
        values, vectors = np.linalg.eigh((x * weight[:, None]).T @ x)
        return cls(known, weight, mean, level, score - level, x[:, at], values, vectors, x @ vectors)

    def beyond(self, slope: float) -> "_Column":
        """The same for what a slope on the LLM's own prediction leaves."""
        return replace(self, rest=self.rest - slope * self.own)

    def _along(self, ridge: float) -> np.ndarray:
        """1 / (eigenvalue + ridge); 0 where predictions never differ."""
        scale = self.values.mean()
        return 1 / (self.values + ridge * scale) if scale > 0 else np.zeros_like(self.values)

    def _slope_along(self, ridge: float) -> np.ndarray:
        """The slope by eigenvector."""
        return self._along(ridge) * (self.parts.T @ (self.weight * self.rest))

    def slope(self, ridge: float) -> np.ndarray:
        return self.vectors @ self._slope_along(ridge)

    def left_out(self, ridge: float) -> np.ndarray:
        """The error on each known prompt of a fit to the others."""
        leverage = self.weight * (1 / self.weight.sum() + self.parts**2 @ self._along(ridge))
        return (self.rest - self.parts @ self._slope_along(ridge)) / (1 - leverage)
