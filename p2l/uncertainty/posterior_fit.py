"""Fit the posterior of a linear head to the votes that it was trained on."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.heads.ranking_head import RankingHead
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking
from p2l.uncertainty.curvature import Curvature, curvature
from p2l.uncertainty.evidence import Axes, Prior, Quadratic, best_prior

RESIDUAL = 0.25  # share of what prompts change that no linear head can tell, before any vote
_TYPICAL = 0.3  # variance of a coefficient over prompts, in multiples of that over models, before any vote
_BOUNDED = 1e-9  # of the most information about a model: votes that were certain before them bound nothing
_DECAYS = (0.0, 0.5, 1.0, 1.5)  # how much more the prior expects of the leading directions of the hidden states


class LinearOutputs(NamedTuple):
    """A head as one linear layer, whatever its form: outputs = weight h + bias; coefficients, then eta."""

    weight: Float64[np.ndarray, "outputs hidden"]
    bias: Float64[np.ndarray, " outputs"]

    @classmethod
    @torch.no_grad()
    def of(cls, head: RankingHead) -> "LinearOutputs":
        """Read the layer off the outputs for 0 and for each hidden unit alone."""
        weight = next(head.parameters())
        at_zero, units = (
            _outputs(head(x.to(weight))) for x in (torch.zeros(1, head.hidden_size), torch.eye(head.hidden_size))
        )
        return cls((units - at_zero).T, at_zero[0])

    @torch.no_grad()
    def into(self, head: RankingHead) -> None:
        """Give a full linear head these weights; ConfigError for one of low rank or with a threshold."""
        if not isinstance(head.head, nn.Linear) or head.family.has_threshold:
            raise ConfigError(
                "new weights need a head of one full linear layer: train with head.rank=null, and a family but ba"
            )
        linear: dict[str, Any] = {"head": head.head} | ({"eta_head": head.eta_head} if head.family.num_eta else {})
        rows = {"head": slice(0, head.num_models), "eta_head": slice(head.num_models, None)}
        for name, layer in linear.items():
            layer.weight.copy_(torch.from_numpy(self.weight[rows[name]]))
            layer.bias.copy_(torch.from_numpy(self.bias[rows[name]]))

    def ranking(self, hidden: Float64[np.ndarray, "prompts hidden"], family: OutcomeFamily) -> Ranking:
        """Return the rankings of hidden states, in float64."""
        outputs = torch.from_numpy(hidden @ self.weight.T + self.bias)
        if not family.num_eta:
            return Ranking(outputs, None)
        return Ranking(outputs[:, :-1], outputs[:, -1])


def _outputs(ranking: Ranking) -> Float64[np.ndarray, "prompts outputs"]:
    eta = [] if ranking.eta is None else [ranking.eta[:, None]]
    return torch.cat((ranking.coefs, *eta), 1).double().cpu().numpy()


class _Features(NamedTuple):
    """Principal directions of standardised hidden states, each scaled by what the prior expects of it."""

    directions: Float64[np.ndarray, "hidden features"]
    curvature: Float64[np.ndarray, " features"]

    @classmethod
    def of(cls, covariance: Float64[np.ndarray, "hidden hidden"], decay: float) -> "_Features":
        deviation = np.sqrt(covariance.diagonal().clip(0))
        deviation[deviation < 1e-6 * max(deviation.max(), 1e-30)] = 1.0  # a unit that is the same for every prompt
        variance, axes = np.linalg.eigh(covariance / np.outer(deviation, deviation))
        variance = variance.clip(1e-9 * max(variance.max(), 1e-30))
        scale = (variance / variance.max()) ** (decay / 2)
        return cls(axes * scale / deviation[:, None], variance * scale**2)


class HeadPrior(NamedTuple):
    """What is expected of a head before any vote on a prompt.

    Attributes:
        covariance: of the weights on each feature: how prompts change the outputs together.
        features: what the head reads.
        decay: by how much more the prior expects of the leading directions of the hidden states.
        spread: variance of the coefficients over the models.
    """

    covariance: Float64[np.ndarray, "outputs outputs"]
    features: _Features
    decay: float
    spread: float


def fit_prior(
    votes: VoteTable,
    hidden: Float64[np.ndarray, "prompts hidden"],
    level: Float64[np.ndarray, " outputs"],
    family: OutcomeFamily,
    dispersion: float | None = None,
) -> tuple[HeadPrior, Axes, Curvature]:
    """Return the prior with the most evidence, its axes, and what the votes tell at one leaderboard for all prompts.

    ``level``: the outputs of that leaderboard. The prior comes from how far the votes depart from it. Of each feature
    it expects a variance that falls with its own, by a power that the evidence chooses. ``dispersion``: that of a
    trained head; by default that of the leaderboard, which counts all that prompts change as disagreement, so that the
    prior is narrow.
    """
    ignoring = LinearOutputs(np.zeros((len(level), hidden.shape[1])), level)
    found = curvature(votes, ignoring.ranking(hidden, family), hidden, family)
    keep = _without_constant(len(level), len(votes.models), family)
    spread = _spread(level, found, len(votes.models))
    dispersion = found.dispersion if dispersion is None else dispersion
    told = keep @ found.outputs @ keep / dispersion

    def prior_of(decay: float) -> tuple[_Features, Prior]:
        features = _Features.of(found.covariance, decay)
        gradient = keep @ found.weight_gradient @ features.directions
        likelihood = Quadratic(gradient / dispersion, features.curvature, told)
        return features, best_prior(likelihood, keep, _TYPICAL * spread / features.curvature.sum())

    logs = np.array([prior_of(decay)[1].log_evidence for decay in _DECAYS])
    weights = np.exp(logs - logs.max())
    decay = float(np.array(_DECAYS) @ weights / weights.sum())
    features, prior = prior_of(decay)
    return HeadPrior(prior.covariance, features, decay, spread), Axes.of(prior.covariance, told), found


def fit_posterior(head: RankingHead, votes: VoteTable, hidden: Float64[np.ndarray, "prompts hidden"]) -> HeadPosterior:
    """Return the Laplace posterior of a head, from the votes that it was trained on.

    Row i of ``hidden`` is the hidden state of prompt i of the votes. The posterior is around the outputs of the head as
    it is. A head of low rank gets that of the full head: the directions that its bottleneck leaves out are open too.
    """
    return posterior_of(LinearOutputs.of(head), votes, hidden, head.family)


def posterior_of(
    layer: LinearOutputs, votes: VoteTable, hidden: Float64[np.ndarray, "prompts hidden"], family: OutcomeFamily
) -> HeadPosterior:
    """Return the Laplace posterior of a linear layer; see ``fit_posterior``."""
    num_models = len(votes.models)
    found = curvature(votes, layer.ranking(hidden, family), hidden, family)
    level = layer.weight @ found.centre + layer.bias
    prior, _, _ = fit_prior(votes, hidden, level, family, found.dispersion)
    keep = _without_constant(len(found.outputs), num_models, family)
    told = keep @ found.outputs @ keep / found.dispersion
    axes = Axes.of(prior.covariance, told)
    # fewer prompts than hidden units leave directions without information, which rounding makes negative
    curvature_of = ((found.covariance @ prior.features.directions) * prior.features.directions).sum(0).clip(0)
    return HeadPosterior(
        centre=found.centre,
        directions=prior.features.directions,
        curvature=curvature_of,
        output_directions=keep @ axes.directions,
        output_information=axes.information,
        level_covariance=keep @ np.linalg.inv(told + np.eye(len(keep)) / prior.spread) @ keep,
        scale=1.0,
        residual=RESIDUAL * float(curvature_of.sum()),
        num_models=num_models,
        report={"decay": prior.decay, "dispersion": found.dispersion},
    )


def _spread(level: Float64[np.ndarray, " outputs"], found: Curvature, models: int) -> float:
    """Return the variance of the coefficients of the models that votes bound."""
    told = found.outputs.diagonal()[:models]
    bounded = told > _BOUNDED * told.max()
    return max(float(level[:models][bounded].var()), 1e-6) if bounded.any() else 1.0


def _without_constant(
    num_outputs: int, num_models: int, family: OutcomeFamily
) -> Float64[np.ndarray, "outputs outputs"]:
    """Return the projection on what the family's probabilities depend on."""
    keep = np.eye(num_outputs)
    if family.shift_invariant:
        keep[:num_models, :num_models] -= 1 / num_models
    return keep
