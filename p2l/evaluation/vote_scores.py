"""Log loss and accuracy of the rankings of a vote table, and paired differences with intervals."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.evaluation.scoring_rules import accuracy, log_loss
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.statistics.bootstrap import Interval, bootstrap_mean
from p2l.types import Battle, Ranking


@dataclass(frozen=True)
class VoteScores:
    """Log loss (nats) and accuracy of each vote, and its prompt.

    Accuracy is the vote's share of the most probable outcome: 0 or 1 for a hard vote. Raises ``DataError`` if all
    weights are 0.
    """

    log_loss: np.ndarray
    accuracy: np.ndarray
    weight: np.ndarray
    prompt_index: np.ndarray

    def __post_init__(self) -> None:
        if not self.weight.any():
            raise DataError("all votes have weight 0: there is nothing to score")

    def mean(self) -> dict[str, float]:
        return {
            "log_loss": float(np.average(self.log_loss, weights=self.weight)),
            "accuracy": float(np.average(self.accuracy, weights=self.weight)),
        }


def score_votes(family: OutcomeFamily, rankings: Ranking, table: VoteTable) -> VoteScores:
    """Score every vote of ``table`` by the ranking of its prompt; rankings as in ``log_probs_and_targets``."""
    log_probs, targets = log_probs_and_targets(family, rankings, table)
    losses, hits = log_loss(log_probs, targets), accuracy(log_probs, targets)
    return VoteScores(losses.double().numpy(), hits.double().numpy(), table.weight, table.prompt_index)


def log_probs_and_targets(
    family: OutcomeFamily, rankings: Ranking, table: VoteTable
) -> tuple[Float[Tensor, "votes outcomes"], Float[Tensor, "votes outcomes"]]:
    """Return what every vote was expected to be, and what it was, as distributions over the family's outcomes.

    Row i of ``rankings`` belongs to prompt i; a single leaderboard (coefs of one dimension) serves all prompts.
    """
    if rankings.coefs.ndim == 1:
        rankings = one_for_all(rankings, len(table.prompts))
    battle = Battle(*(torch.from_numpy(x) for x in (table.prompt_index, table.model_a, table.model_b)))
    log_probs = battle_log_probs(family, rankings, battle)
    return log_probs, torch.from_numpy(table.outcome_shares).to(log_probs.dtype) @ family.target_matrix(log_probs)


def one_for_all(leaderboard: Ranking, num_prompts: int) -> Ranking:
    """Repeat one leaderboard for every prompt."""
    eta: Tensor | None = None if leaderboard.eta is None else leaderboard.eta.reshape(1).expand(num_prompts)
    return Ranking(leaderboard.coefs.expand(num_prompts, -1), eta)


def bootstrap_difference(
    ours: VoteScores, other: VoteScores, metric: str, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean of ``metric`` under ``ours`` minus under ``other``, with a bootstrap interval over prompts.

    Whole prompts are resampled, since votes on one prompt are not independent.
    """
    difference = getattr(ours, metric) - getattr(other, metric)
    return bootstrap_mean(difference, ours.weight, ours.prompt_index, level=level, seed=seed)


def standard_error_of_difference(ours: VoteScores, other: VoteScores, metric: str) -> float:
    """Return the standard error over prompts of the mean difference of ``metric``; NaN for a single prompt.

    Linearised: the votes on a prompt count as one draw of their weighted sum.
    """
    difference = getattr(ours, metric) - getattr(other, metric)
    deviation = ours.weight * (difference - np.average(difference, weights=ours.weight))
    num_prompts = len(np.unique(ours.prompt_index))
    if num_prompts < 2:
        return math.nan
    squares = np.square(np.bincount(ours.prompt_index, weights=deviation)).sum()
    return float(np.sqrt(squares * num_prompts / (num_prompts - 1)) / ours.weight.sum())
