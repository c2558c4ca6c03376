"""Baselines on frozen states: ridge regression and nearest neighbours of scores, and ridge regression of log costs."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from predictions import Error, Predictions, fold_numbers, relative_error

from p2l.data.measured_scores import MeasuredScores

PENALTIES = tuple(np.geomspace(1.0, 1e5, 11).tolist())  # of standardised states, added to the sum of squares
NEIGHBOURS = (5, 10, 20, 40, 80, 160)
Fit = Callable[[np.ndarray, MeasuredScores, float], Callable[[np.ndarray], np.ndarray]]


def fit_ridge(states: np.ndarray, measured: MeasuredScores, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the linear regression of each LLM's scores on the states."""
    return _linear(states, measured.score, measured.weight > 0, penalty)


def _linear(
    states: np.ndarray, values: np.ndarray, known: np.ndarray, penalty: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the regression of each column on the states; columns known for the same rows are solved at once."""
    slope, level = np.zeros((states.shape[1], values.shape[1])), np.zeros(values.shape[1])
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for at, rows in enumerate(patterns.T):
        columns, center = np.flatnonzero(which.ravel() == at), states[rows].mean(axis=0)
        x, y = states[rows] - center, values[np.ix_(rows, columns)]
        slope[:, columns] = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
        level[columns] = y.mean(axis=0) - center @ slope[:, columns]
    return lambda other: other @ slope + level


def fit_neighbours(states: np.ndarray, measured: MeasuredScores, count: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the mean scores of the most similar prompts, by the cosine of their states."""
    unit, known = _unit(states), (measured.weight > 0).astype(np.float64)
    most, general = min(int(count), len(states)), measured.mean_score()

    def predict(other: np.ndarray) -> np.ndarray:
        nearest = np.argpartition(-_unit(other) @ unit.T, most - 1, axis=1)[:, :most]
        total = known[nearest].sum(axis=1)
        found = (measured.score * known)[nearest].sum(axis=1) / np.maximum(total, 1)
        return np.where(total > 0, found, general)

    return predict


def _unit(states: np.ndarray) -> np.ndarray:
    return states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)


def predict_scores(
    fit: Fit,
    choices: tuple[float, ...],
    states: np.ndarray,
    tests: Mapping[str, np.ndarray],
    measured: MeasuredScores,
    error: Error,
) -> Predictions:
    """Choose by the cross-fitted error on the prompts to fit, then predict the tests."""
    tried = {choice: _cross_fitted(fit, choice, states, measured) for choice in choices}
    best = min(tried, key=lambda choice: error(tried[choice]))
    predict = fit(states, measured, best)
    return Predictions(tried[best], {name: predict(one) for name, one in tests.items()}, {fit.__name__: best})


def _cross_fitted(fit: Fit, choice: float, states: np.ndarray, measured: MeasuredScores) -> np.ndarray:
    folds, found = fold_numbers(len(states)), np.zeros(measured.score.shape)
    for fold in range(folds.max() + 1):
        train = np.flatnonzero(folds != fold)
        found[folds == fold] = fit(states[train], measured.rows(train), choice)(states[folds == fold])
    return found


def predict_costs(states: np.ndarray, tests: Mapping[str, np.ndarray], measured: MeasuredScores) -> Predictions:
    """Predict the cost of each answer by ridge regression of its logarithm, scaled so that means are right.

    Costs of 0 have no logarithm: then each LLM's mean cost is its prediction.
    """
    if (measured.cost <= 0).any():
        mean = measured.cost.mean(axis=0)
        flat = {name: np.tile(mean, (len(one), 1)) for name, one in tests.items()}
        return Predictions(np.tile(mean, (len(states), 1)), flat, {"cost": "mean of each LLM"})
    logs = MeasuredScores(
        measured.models, measured.prompts, np.log(measured.cost), np.ones_like(measured.cost), measured.cost
    )
    found = predict_scores(fit_ridge, PENALTIES, states, tests, logs, partial(relative_error, logs))
    scale = measured.cost.mean(axis=0) / np.exp(found.fit).mean(axis=0)
    costs = {name: scale * np.exp(one) for name, one in found.tests.items()}
    return Predictions(scale * np.exp(found.fit), costs, {"log cost": found.options["fit_ridge"]})
