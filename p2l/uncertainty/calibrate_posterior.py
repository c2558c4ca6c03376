"""Fit the scale and the residual of a posterior to votes that the head was not trained on."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from p2l.data.vote_table import VoteTable
from p2l.head_posterior import HeadPosterior
from p2l.heads.ranking_head import RankingHead
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking
from p2l.uncertainty.curvature import prompt_information
from p2l.uncertainty.posterior_fit import RESIDUAL, LinearOutputs, fit_posterior
from p2l.uncertainty.predictive import predictive_log_loss

SCALES = (1.0, 1.19, 1.41, 1.68, 2.0, 2.83, 4.0)  # never below 1: votes on few prompts can say so by chance
RESIDUALS = tuple(
    RESIDUAL * factor for factor in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
)  # shares of what the prior expects of a prompt; large where the answers decide all votes on a prompt
_SCALE_WIDTH, _RESIDUAL_WIDTH = 0.5, 1.0  # standard deviations of their logarithms before any vote
_MOST_PROMPTS = 1_000

log = logging.getLogger(__name__)

Part = tuple[VoteTable, Float64[np.ndarray, "_ hidden"]]  # votes, and the hidden states of their prompts


def checked_posterior(head: RankingHead, train: Part, val: Part | None) -> HeadPosterior:
    """Return the posterior of a trained head, its width set by votes on other prompts if there are any."""
    posterior = fit_posterior(head, *train)
    if val is None:
        return posterior
    votes, hidden = val
    return calibrated(posterior, votes, LinearOutputs.of(head).ranking(hidden, head.family), hidden, head.family)


def on_other_prompts(held_out: VoteTable, votes: VoteTable) -> VoteTable | None:
    """Leave out the votes on prompts that ``votes`` have too: errors are smaller on these than on new prompts.

    How many is logged. None if no vote is left.
    """
    known = set(votes.prompts)
    new = np.array([prompt not in known for prompt in held_out.prompts])
    rows = np.flatnonzero(new[held_out.prompt_index])
    if len(rows) and not new.all():
        left_out = len(held_out) - len(rows)
        log.warning("val: %d of its prompts are those of votes=; their %d votes are left out", (~new).sum(), left_out)
    return held_out.select(rows) if len(rows) else None


def calibrated(
    posterior: HeadPosterior,
    votes: VoteTable,
    ranking: Ranking,
    hidden: Float64[np.ndarray, "prompts hidden"],
    family: OutcomeFamily,
) -> HeadPosterior:
    """Return the posterior with the scale and the residual of the most evidence, and a report.

    Row i of ``ranking`` and ``hidden`` belongs to prompt i of the votes. The votes on one prompt share its error, which
    is what tells how large errors are: one vote a prompt tells nothing, and leaves both near what is expected.
    """
    states = posterior.states(hidden)
    grid = {(scale, share): 0.0 for scale in SCALES for share in RESIDUALS}
    unit = float(posterior.curvature.sum())
    plain, prior = (
        replace(posterior, scale=1.0, residual=0.0),
        posterior.output_directions @ posterior.output_directions.T,
    )
    for gradient, information, state in _prompts(_one_vote_a_pair(votes), ranking, states, family):
        own = plain.covariance(state)
        for scale, share in grid:
            grid[scale, share] += _log_evidence(gradient, information, scale * own + share * unit * prior)
    scale, share = max(grid, key=lambda at: grid[at] + _log_prior(*at))
    chosen = replace(posterior, scale=scale, residual=share * unit)
    losses = [
        predictive_log_loss(one, votes, ranking, states, family).sum() / votes.weight.sum()
        for one in (replace(posterior, scale=0.0, residual=0.0), posterior, chosen)
    ]
    report = {
        **posterior.report,
        "votes": len(votes),
        "prompts": len(votes.prompts),
        "scale": scale,
        "residual": share,
        "log_evidence": grid[scale, share] - grid[1.0, RESIDUAL],
        "log_loss": dict(zip(("point", "posterior", "calibrated"), map(float, losses), strict=True)),
    }
    return replace(chosen, report=report)


def _one_vote_a_pair(votes: VoteTable) -> VoteTable:
    """Divide the weight of votes by their number on the same prompt and models: they judge the same two answers."""
    first, second = np.minimum(votes.model_a, votes.model_b), np.maximum(votes.model_a, votes.model_b)
    keys = np.stack((votes.prompt_index, first, second))
    _, at, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    return replace(votes, weight=(votes.weight / counts[at.ravel()]).astype(np.float32))


def _log_prior(scale: float, share: float) -> float:
    return -((np.log(scale) / _SCALE_WIDTH) ** 2 + (np.log(share / RESIDUAL) / _RESIDUAL_WIDTH) ** 2) / 2


def _prompts(
    votes: VoteTable, ranking: Ranking, states: Float64[np.ndarray, "prompts hidden"], family: OutcomeFamily
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield gradient, information and state of each prompt, at most ``_MOST_PROMPTS`` at even distances."""
    chosen = np.unique(np.linspace(0, len(states) - 1, _MOST_PROMPTS).round().astype(int))
    for prompt, (gradient, information) in prompt_information(votes, ranking, family, chosen):
        yield gradient, information, states[prompt]


def _log_evidence(
    gradient: Float64[np.ndarray, " outputs"],
    information: Float64[np.ndarray, "outputs outputs"],
    covariance: Float64[np.ndarray, "outputs outputs"],
) -> float:
    """Return log E[P(votes of a prompt)] less that without an error, for a Gaussian error of its outputs."""
    matrix = np.eye(len(gradient)) + covariance @ information
    _, log_determinant = np.linalg.slogdet(matrix)
    return float(gradient @ np.linalg.solve(matrix, covariance @ gradient) / 2 - log_determinant / 2)
