"""Shrink a prompt's predicted scores toward the general ones, so that the argmax does not select prediction errors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
from jaxtyping import Float64

from p2l.errors import ConfigError
from p2l.files import write_whole
from p2l.routing.cost_optimizer import Optimizer

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
    ``p2l.routing.fit_shrinkage`` fits it.

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
