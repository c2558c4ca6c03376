"""Information of votes about the outputs of a head: what its posterior is made of."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.sparse import csr_matrix
from torch import Tensor

from p2l.data.vote_table import VoteTable
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking

Rows = slice | Int64[np.ndarray, " votes"]
_VOTES, _PROMPTS = 65_536, 4_096  # of a block


class Curvature(NamedTuple):
    """What all votes tell about a linear head: outputs = weight (h - centre) + level.

    Attributes:
        centre: mean hidden state, each prompt weighted by the trace of its information.
        covariance: of the hidden states, weighted in the same way.
        outputs: information about the outputs, summed over votes.
        level_gradient: of the log-likelihood with respect to the level.
        weight_gradient: of the log-likelihood with respect to the weight.
        dispersion: by how much the gradient varies more from prompt to prompt than votes would that depend on nothing
            but the outputs; at least 1. Votes on one prompt share what the head does not know of it.
    """

    centre: Float64[np.ndarray, " hidden"]
    covariance: Float64[np.ndarray, "hidden hidden"]
    outputs: Float64[np.ndarray, "outputs outputs"]
    level_gradient: Float64[np.ndarray, " outputs"]
    weight_gradient: Float64[np.ndarray, "outputs hidden"]
    dispersion: float


def curvature(
    votes: VoteTable, rankings: Ranking, hidden: Float64[np.ndarray, "prompts hidden"], family: OutcomeFamily
) -> Curvature:
    """Add up what votes tell about the head, in one pass.

    Row i of ``rankings`` and ``hidden`` belongs to prompt i of the votes.
    """
    num_outputs = len(votes.models) + family.num_eta
    outputs, trace, gradients = _of_outputs(votes, rankings, family)
    sums = np.zeros((hidden.shape[1] + 1, hidden.shape[1] + 1))
    cross = np.zeros((num_outputs, hidden.shape[1] + 1))
    for first in range(0, len(hidden), _PROMPTS):
        block = slice(first, first + _PROMPTS)
        features = np.column_stack((hidden[block].astype(np.float64), np.ones(len(hidden[block]))))
        sums += features.T @ (features * trace[block, None])
        cross += gradients[block].T @ features
    total = max(sums[-1, -1], np.finfo(np.float64).tiny)
    centre = sums[-1, :-1] / total
    return Curvature(
        centre,
        sums[:-1, :-1] / total - np.outer(centre, centre),
        outputs,
        cross[:, -1],
        cross[:, :-1] - np.outer(cross[:, -1], centre),
        max(1.0, float(gradients.multiply(gradients).sum()) / total),
    )


def _of_outputs(
    votes: VoteTable, rankings: Ranking, family: OutcomeFamily
) -> tuple[Float64[np.ndarray, "outputs outputs"], Float64[np.ndarray, " prompts"], csr_matrix]:
    """Return the information about the outputs, its trace by prompt, and the gradient by prompt and output."""
    num_prompts, num_outputs = len(rankings.coefs), len(votes.models) + family.num_eta
    outputs, trace, gradients = np.zeros(num_outputs**2), np.zeros(num_prompts), csr_matrix((num_prompts, num_outputs))
    for first in range(0, len(votes.model_a), _VOTES):
        block = slice(first, first + _VOTES)
        prompts, places = votes.prompt_index[block], output_places(votes, block, family)
        gradient, fisher = vote_information(family, *vote_inputs(votes, rankings, block, family))
        flat = places[:, :, None] * num_outputs + places[:, None, :]
        outputs += np.bincount(flat.ravel(), fisher.ravel(), minlength=num_outputs**2)
        trace += np.bincount(prompts, np.trace(fisher, axis1=1, axis2=2), minlength=num_prompts)
        rows = np.repeat(prompts, places.shape[1])
        gradients = gradients + csr_matrix((gradient.ravel(), (rows, places.ravel())), shape=gradients.shape)
    return outputs.reshape(num_outputs, num_outputs), trace, gradients


def log_likelihood(
    votes: VoteTable, outputs: Float64[np.ndarray, "prompts outputs"], family: OutcomeFamily
) -> tuple[float, Float64[np.ndarray, "prompts outputs"]]:
    """Return the log-likelihood of votes under the outputs of their prompts, and its gradient."""
    battle = Battle(*(torch.from_numpy(x) for x in (votes.prompt_index, votes.model_a, votes.model_b)))
    inputs = torch.from_numpy(outputs).requires_grad_(True)
    with torch.enable_grad():
        coefs = inputs[:, : len(votes.models)]
        log_probs = battle_log_probs(family, Ranking(coefs, inputs[:, -1] if family.num_eta else None), battle)
        shares = torch.from_numpy(votes.outcome_shares).double()
        targets = shares @ family.target_matrix(shares) * torch.from_numpy(votes.weight).double()[:, None]
        value = (targets * log_probs).sum()
        (gradient,) = torch.autograd.grad(value, inputs)
    return float(value.detach()), gradient.numpy()


def prompt_information(
    votes: VoteTable, rankings: Ranking, family: OutcomeFamily, prompts: Int64[np.ndarray, " some"]
) -> Iterator[tuple[int, tuple[Float64[np.ndarray, " outputs"], Float64[np.ndarray, "outputs outputs"]]]]:
    """Yield, for each of these prompts, the gradient of its votes' log-likelihood and their information."""
    num_outputs = len(votes.models) + family.num_eta
    order = np.argsort(votes.prompt_index, kind="stable")
    starts = np.searchsorted(votes.prompt_index[order], [prompts, prompts + 1]).T
    for prompt, (first, last) in zip(prompts.tolist(), starts.tolist(), strict=True):
        rows = order[first:last]
        places = output_places(votes, rows, family)
        gradients, fisher = vote_information(family, *vote_inputs(votes, rankings, rows, family))
        gradient, information = np.zeros(num_outputs), np.zeros((num_outputs, num_outputs))
        np.add.at(gradient, places, gradients)
        np.add.at(information, (places[:, :, None], places[:, None, :]), fisher)
        yield prompt, (gradient, information)


def output_places(votes: VoteTable, block: Rows, family: OutcomeFamily) -> Int64[np.ndarray, "votes parameters"]:
    """Return the outputs that each vote depends on: coef of a, coef of b, and eta if the family has one."""
    models = np.column_stack((votes.model_a[block], votes.model_b[block]))
    return np.pad(models, ((0, 0), (0, family.num_eta)), constant_values=len(votes.models))


def vote_inputs(
    votes: VoteTable, rankings: Ranking, block: Rows, family: OutcomeFamily
) -> tuple[Float[Tensor, "votes parameters"], Float[Tensor, "votes outcomes"]]:
    """Return the outputs that each vote depends on, and the weight of each outcome in it; both in float64."""
    prompts, a, b = (torch.from_numpy(x[block]) for x in (votes.prompt_index, votes.model_a, votes.model_b))
    columns = [rankings.coefs[prompts, a], rankings.coefs[prompts, b]]
    if family.num_eta and rankings.eta is not None:
        columns.append(rankings.eta[prompts])
    shares = torch.from_numpy(votes.outcome_shares[block]).double()
    weight = torch.from_numpy(votes.weight[block]).double()
    return torch.stack(columns, 1).double(), shares @ family.target_matrix(shares) * weight[:, None]


def vote_information(
    family: OutcomeFamily, parameters: Float[Tensor, "votes parameters"], targets: Float[Tensor, "votes outcomes"]
) -> tuple[Float64[np.ndarray, "votes parameters"], Float64[np.ndarray, "votes parameters parameters"]]:
    """Return the gradient of each vote's log-likelihood, and its Fisher information.

    A vote without evidence in this family (a tie under "bt") has neither. The information is the expected one, which
    is never negative.
    """
    inputs = parameters.detach().requires_grad_(True)
    with torch.enable_grad():
        log_probs = family.log_probs(*inputs.unbind(1))
        columns = [torch.autograd.grad(x.sum(), inputs, retain_graph=True)[0] for x in log_probs.unbind(1)]
    slopes, probs = torch.stack(columns, 1), log_probs.detach().exp()
    gradient = torch.einsum("vo,vop->vp", targets, slopes)
    fisher = torch.einsum("vo,vop,voq->vpq", probs * targets.sum(1, keepdim=True), slopes, slopes)
    return gradient.numpy(), fisher.numpy()
