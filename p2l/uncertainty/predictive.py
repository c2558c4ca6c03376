"""Outcome probabilities of votes under a posterior: averages over the error of the head.

The residual is left out. It is what no linear head can tell of a prompt, and the probabilities of a head that was
fitted to votes on many prompts are averages over it already.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from p2l.data.vote_table import VoteTable
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking
from p2l.uncertainty.curvature import output_places, vote_inputs

_NODES = 5  # of the quadrature, for each parameter of a vote
_VOTES = 4_096  # of a block


def predictive_log_loss(
    posterior: HeadPosterior,
    votes: VoteTable,
    rankings: Ranking,
    states: Float64[np.ndarray, "prompts hidden"],
    family: OutcomeFamily,
) -> Float64[np.ndarray, " votes"]:
    """Return the log loss of each vote times its weight, with probabilities averaged over the error of the head."""
    log_probs = predictive_log_probs(posterior, votes, rankings, states, family)
    _, targets = vote_inputs(votes, rankings, slice(None), family)
    return -(targets.numpy() * log_probs).sum(1)


def predictive_log_probs(
    posterior: HeadPosterior,
    votes: VoteTable,
    rankings: Ranking,
    states: Float64[np.ndarray, "prompts hidden"],
    family: OutcomeFamily,
) -> Float64[np.ndarray, "votes outcomes"]:
    """Return log P(outcome) of each vote, with P averaged over the error of the head.

    Row i of ``rankings`` and ``states`` belongs to prompt i of the votes.
    """
    head = replace(posterior, residual=0.0)
    log_probs = np.zeros((len(votes.model_a), len(family.outcomes)))
    order = np.argsort(votes.prompt_index, kind="stable")
    for first in range(0, len(order), _VOTES):
        rows = order[first : first + _VOTES]
        prompts, at = np.unique(votes.prompt_index[rows], return_inverse=True)
        means, _ = vote_inputs(votes, rankings, rows, family)
        places = output_places(votes, rows, family)
        covariances = head.covariance(states[prompts])[at[:, None, None], places[:, :, None], places[:, None, :]]
        log_probs[rows] = _mean_log_probs(family, means, _root(torch.from_numpy(covariances))).numpy()
    return log_probs


def _root(covariance: Float[Tensor, "votes parameters parameters"]) -> Float[Tensor, "votes parameters parameters"]:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()[:, None]


def _mean_log_probs(
    family: OutcomeFamily,
    means: Float[Tensor, "votes parameters"],
    root: Float[Tensor, "votes parameters parameters"],
) -> Float[Tensor, "votes outcomes"]:
    """Return log E[P(outcome)] by Gauss-Hermite quadrature."""
    points, weights = hermegauss(_NODES)
    weights = weights / weights.sum()
    total = torch.zeros(len(means), len(family.outcomes), dtype=torch.float64)
    for at in product(range(_NODES), repeat=means.shape[1]):
        inputs = means + root @ torch.from_numpy(points[list(at)])
        total += float(np.prod(weights[list(at)])) * family.log_probs(*inputs.unbind(1)).exp()
    return total.clamp_min(1e-300).log()
