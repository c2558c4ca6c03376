"""Fit a cost head to measured costs: a ridge regression of log cost on hidden states, in closed form."""

import numpy as np
from jaxtyping import Float64, Int64

from p2l.errors import DataError
from p2l.heads.cost_head import CostHead, CostWeights
from p2l.statistics.ridge import ridge

COVERED = 0.95  # share of the answers that cost less than bound x prediction


def fit_cost_head(
    hidden: Float64[np.ndarray, "prompts hidden"], costs: Float64[np.ndarray, "prompts models"], unit: str
) -> CostHead:
    """Return the cost head of measured costs; NaN is an unknown cost.

    Each model's log cost is regressed on the hidden state. The penalty of each model is that with the least squared
    error on prompts left out, which the closed form gives exactly. The factor from the median to the mean is
    sum(cost) / sum(exp(predicted log cost)) over predictions for prompts left out: no distribution is assumed (compare
    Duan 1983, "Smearing estimate"), and the predictions add up to what was paid.

    Raises DataError if no cost is known, or one is not above 0.
    """
    known = ~np.isnan(costs)
    if not known.any():
        raise DataError("no cost is known, so that there is none to predict")
    if not (np.isfinite(costs[known]) & (costs[known] > 0)).all():
        raise DataError("every cost must be a finite number above 0, since its logarithm is predicted")
    scale = hidden.std(axis=0)
    features = hidden / np.where(scale > 0, scale, 1.0)
    shape = (costs.shape[1], hidden.shape[1])
    found = CostWeights(np.full(shape, np.nan), *(np.full(shape[0], np.nan) for _ in range(6)))
    masks, group_of = np.unique(known.T, axis=0, return_inverse=True)
    for group, mask in enumerate(masks):
        models = np.flatnonzero(group_of.ravel() == group)
        if mask.any():
            _fit_models(features[mask], costs[np.ix_(mask, models)], models, found)
    found.weight[:] /= np.where(scale > 0, scale, 1.0)
    return CostHead(CostWeights(*(x.astype(np.float32) for x in found)), unit)


def _fit_models(
    features: np.ndarray, costs: np.ndarray, models: Int64[np.ndarray, " some"], found: CostWeights
) -> None:
    """Fit the models whose costs are known for the same prompts, and write their rows into ``found``."""
    log_costs = np.log(costs)
    fitted = ridge(features, log_costs)
    low, high = costs.min(axis=0), costs.max(axis=0)
    # without a slope, the prediction is the mean cost itself
    predicted = np.where(fitted.weight.any(axis=1), fitted.left_out, fitted.bias)
    left_out = np.exp(predicted.clip(np.log(low), np.log(high)))
    factor = costs.sum(axis=0) / left_out.sum(axis=0)
    bound = np.quantile(costs / (left_out * factor).clip(low, high), COVERED, axis=0)
    rows = (fitted.weight, fitted.bias, factor, low, high, costs.mean(axis=0), np.maximum(bound, 1.0))
    for all_rows, own in zip(found, rows, strict=True):
        all_rows[models] = own
