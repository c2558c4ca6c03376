"""Ridge regression of many targets in closed form, with the penalty chosen on what was left out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

FEWEST = 20  # rows; below, the prediction is the mean of the target
# in units of the number of rows, for features of variance 1; the last one leaves the mean of the target
PENALTIES = (*np.geomspace(1e-4, 1e2, 19).tolist(), np.inf)


class RidgeFit(NamedTuple):
    """target = weight feature + bias; ``left_out`` is the prediction for each row by the fit to the other rows."""

    weight: Float64[np.ndarray, "targets features"]
    bias: Float64[np.ndarray, " targets"]
    left_out: Float64[np.ndarray, "rows targets"]


def ridge(features: Float64[np.ndarray, "rows features"], targets: Float64[np.ndarray, "rows targets"]) -> RidgeFit:
    """Regress each target on the features.

    The penalty of each target is the one of ``PENALTIES`` with the least squared error on rows left out one at a time.
    These errors follow from one fit, error / (1 - leverage) (Hastie, Tibshirani and Friedman 2009, 7.10).
    """
    count, mean, centre = len(targets), features.mean(axis=0), targets.mean(axis=0)
    rest = targets - centre
    values, vectors = np.linalg.eigh((features - mean).T @ (features - mean))
    values, turned = values.clip(min=0.0), (features - mean) @ vectors
    along, squares = turned.T @ rest, turned**2
    least, left_out = np.full(targets.shape[1], np.inf), np.empty(targets.shape)
    best = np.zeros_like(along)
    for penalty in PENALTIES if count >= FEWEST else PENALTIES[-1:]:
        shrunk = 1 / (values + penalty * count)
        weights = along * shrunk[:, None]
        kept = 1 - 1 / count - squares @ shrunk
        errors = (rest - turned @ weights) / kept.clip(min=1e-9)[:, None]
        better = (errors**2).sum(axis=0) < least
        least[better] = (errors**2).sum(axis=0)[better]
        best[:, better], left_out[:, better] = weights[:, better], (targets - errors)[:, better]
    weight = (vectors @ best).T
    return RidgeFit(weight, centre - weight @ mean, left_out)
