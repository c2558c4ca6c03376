"""The prior of a head's weights with the most evidence, and what the votes leave open under it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

_ROUNDS = 8  # of the prior's covariance, which has converged by then
_GAIN = 0.1  # nats of evidence for which another round is worth it
_SCALES = 10.0 ** np.linspace(-3, 3, 61)
_WIDTH = 1.5  # standard deviation of log(variance of a weight / typical one), before any vote


class Quadratic(NamedTuple):
    """A log-likelihood of weights, expanded around 0: along feature i its information is curvature_i outputs.

    Attributes:
        gradient: at 0.
        curvature: of each feature.
        outputs: information about the outputs.
    """

    gradient: Float64[np.ndarray, "outputs features"]
    curvature: Float64[np.ndarray, " features"]
    outputs: Float64[np.ndarray, "outputs outputs"]


class Prior(NamedTuple):
    """N(0, ``covariance``) for each column of the weights, and the logarithm of its evidence."""

    covariance: Float64[np.ndarray, "outputs outputs"]
    log_evidence: float


class Axes(NamedTuple):
    """Directions of the outputs in which a prior and the information of votes are both diagonal.

    The prior covariance is ``directions directions^T``; the posterior one of feature i is
    ``directions diag(1 / (1 + curvature_i information)) directions^T``.
    """

    directions: Float64[np.ndarray, "outputs outputs"]
    information: Float64[np.ndarray, " outputs"]

    @classmethod
    def of(
        cls, covariance: Float64[np.ndarray, "outputs outputs"], outputs: Float64[np.ndarray, "outputs outputs"]
    ) -> "Axes":
        """Diagonalise a prior covariance and information about the outputs together."""
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(values.clip(0))
        information, rotation = np.linalg.eigh(root.T @ outputs @ root)
        return cls(root @ rotation, information.clip(0))


def best_prior(likelihood: Quadratic, keep: Float64[np.ndarray, "outputs outputs"], typical: float) -> Prior:
    """Return the prior of weights with the most evidence, for a likelihood that is expanded around weights of 0.

    It starts from a multiple of ``keep``, the projection on what the likelihood depends on, and learns which outputs
    change together from prompt to prompt: by MacKay's fixed point, shrunk to the multiple of ``keep`` as far as the
    votes determine few features. ``typical``: variance of a weight that is expected before any vote; few votes, which
    cannot tell a small one from none, leave it near this. Source: MacKay 1992 ("Bayesian interpolation").
    """
    best = _scaled(likelihood, keep, typical)
    for _ in range(_ROUNDS):
        found = _scaled(likelihood, _updated(likelihood, best.covariance, keep), typical)
        if found.log_evidence <= best.log_evidence + _GAIN:
            return best
        best = found
    return best


def _scaled(likelihood: Quadratic, covariance: Float64[np.ndarray, "outputs outputs"], typical: float) -> Prior:
    """Return the mean of the multiples of a covariance, each weighted by its evidence."""
    unit = covariance * (typical * len(covariance) / max(np.trace(covariance), 1e-300))
    axes = Axes.of(unit, likelihood.outputs)
    slope, share = axes.directions.T @ likelihood.gradient, axes.information[:, None] * likelihood.curvature
    logs = np.array([_log_evidence(scale, slope, share) for scale in _SCALES]) - (np.log(_SCALES) / _WIDTH) ** 2 / 2
    weights = np.exp(logs - logs.max())
    scale = float(_SCALES @ weights / weights.sum())
    return Prior(unit * scale, float(logs.max() + np.log(weights.mean())))


def _log_evidence(
    scale: float, slope: Float64[np.ndarray, "outputs features"], share: Float64[np.ndarray, "outputs features"]
) -> float:
    """Return the logarithm of the evidence of the prior N(0, scale) for weights that nothing couples."""
    precision = share + 1 / scale
    return float((slope**2 / precision - np.log(scale * precision)).sum() / 2)


def _updated(
    likelihood: Quadratic,
    covariance: Float64[np.ndarray, "outputs outputs"],
    keep: Float64[np.ndarray, "outputs outputs"],
) -> Float64[np.ndarray, "outputs outputs"]:
    axes = Axes.of(covariance, likelihood.outputs)
    share = axes.information[:, None] * likelihood.curvature
    mode = axes.directions.T @ likelihood.gradient / (1 + share)
    determined = (share / (1 + share)).sum(1)  # features, along each direction
    scaled = axes.directions @ (mode / np.sqrt(determined + 1e-9)[:, None])
    learned = scaled @ scaled.T
    plain = keep * (np.trace(learned) / np.trace(keep))
    trust = determined.mean() / (determined.mean() + len(keep))
    return trust * learned + (1 - trust) * plain
