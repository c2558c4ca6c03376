"""The most probable weights of a linear head on fixed hidden states, under the prior of the most evidence."""

import logging

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize

from p2l.data.vote_table import VoteTable
from p2l.outcomes import OutcomeFamily
from p2l.uncertainty.curvature import Curvature, log_likelihood
from p2l.uncertainty.evidence import Axes
from p2l.uncertainty.posterior_fit import HeadPrior, LinearOutputs, fit_prior

log = logging.getLogger(__name__)
_STEPS = 300


def most_probable_layer(
    votes: VoteTable,
    hidden: Float64[np.ndarray, "prompts hidden"],
    level: Float64[np.ndarray, " outputs"],
    family: OutcomeFamily,
) -> LinearOutputs:
    """Return the layer with the largest posterior density.

    Row i of ``hidden`` belongs to prompt i of the votes; ``level`` is one leaderboard for all prompts, the start. At
    the mean prompt the prior of a coefficient is normal around the mean model, with the variance of the models. Votes
    count for less if they vary more from prompt to prompt than chance allows (``Curvature.dispersion``), since votes on
    one prompt then are no independent evidence.
    """
    prior, axes, found = fit_prior(votes, hidden, level, family)
    problem = _Problem(votes, (hidden - found.centre) @ prior.features.directions, family, axes, found, prior, level)
    best = minimize(problem, problem.start(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-10})
    if not best.success:
        log.warning("the most probable head was not found to the last digit in %d steps (%s)", best.nit, best.message)
    weights, bias = problem.layer_of(best.x)
    weight = axes.directions @ weights @ prior.features.directions.T
    return LinearOutputs(weight, bias - weight @ found.centre)


class _Problem:
    """Minus the log of the posterior density of weights and level, in steps of about one standard error each."""

    def __init__(
        self,
        votes: VoteTable,
        features: Float64[np.ndarray, "prompts features"],
        family: OutcomeFamily,
        axes: Axes,
        found: Curvature,
        prior: HeadPrior,
        level: Float64[np.ndarray, " outputs"],
    ) -> None:
        self.votes, self.features, self.family, self.axes = votes, features, family, axes
        self.level, self.dispersion, self.spread = level, found.dispersion, prior.spread
        self.steps = 1 / np.sqrt(1 + np.outer(axes.information, prior.features.curvature))
        self.level_steps = 1 / np.sqrt(found.outputs.diagonal() / found.dispersion + 1 / prior.spread)

    def start(self) -> Float64[np.ndarray, " parameters"]:
        return np.zeros(len(self.level) + self.steps.size)

    def layer_of(
        self, x: Float64[np.ndarray, " parameters"]
    ) -> tuple[Float64[np.ndarray, "outputs features"], Float64[np.ndarray, " outputs"]]:
        """Return the weights along the axes of the prior, and the level."""
        size = len(self.level)
        return x[size:].reshape(self.steps.shape) * self.steps, self.level + x[:size] * self.level_steps

    def __call__(self, x: Float64[np.ndarray, " parameters"]) -> tuple[float, Float64[np.ndarray, " parameters"]]:
        weights, bias = self.layer_of(x)
        outputs = self.features @ (self.axes.directions @ weights).T + bias
        value, by_output = log_likelihood(self.votes, outputs, self.family)
        models = len(self.votes.models)
        pull = np.zeros(len(bias))
        pull[:models] = (bias[:models] - bias[:models].mean()) / self.spread
        slope = self.axes.directions.T @ (by_output.T @ self.features) / self.dispersion - weights
        level_slope = by_output.sum(0) / self.dispersion - pull
        penalty = ((weights**2).sum() + pull @ bias) / 2
        gradient = np.concatenate((level_slope * self.level_steps, (slope * self.steps).ravel()))
        return float(penalty - value / self.dispersion), -gradient
