"""How well rankings predict votes: log loss and accuracy, and paired comparisons with intervals."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2l.data.votes import VoteTable
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battles import battle_log_probs
from p2l.types import Battle, Ranking

BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class VoteScores:
    """Log loss (nats) and accuracy of each vote, and the prompt each vote is on.

    Accuracy is the vote's share in the most probable outcome: 0 or 1 for a hard vote.
    """

    log_loss: np.ndarray
    accuracy: np.ndarray
    weight: np.ndarray
    prompt_index: np.ndarray

    def mean(self) -> dict[str, float]:
        return {
            "log_loss": float(np.average(self.log_loss, weights=self.weight)),
            "accuracy": float(np.average(self.accuracy, weights=self.weight)),
        }


def score_votes(family: OutcomeFamily, rankings: Ranking, table: VoteTable) -> VoteScores:
    """Score every vote of ``table`` by the ranking of its prompt: row i of ``rankings`` is prompt i.

    A single leaderboard (coefs of one dimension) is used for all prompts.
    """
    if rankings.coefs.ndim == 1:
        rankings = one_for_all(rankings, len(table.prompts))
    battle = Battle(*(torch.from_numpy(x) for x in (table.prompt_index, table.model_a, table.model_b)))
    log_probs = battle_log_probs(family, rankings, battle)
    targets = torch.from_numpy(table.kinds).to(log_probs.dtype) @ family.target_matrix(log_probs)
    log_loss = -(targets * log_probs).sum(-1)
    accuracy = targets.gather(-1, log_probs.argmax(-1, keepdim=True)).squeeze(-1)
    return VoteScores(log_loss.double().numpy(), accuracy.double().numpy(), table.weight, table.prompt_index)


def one_for_all(leaderboard: Ranking, num_prompts: int) -> Ranking:
    """The same leaderboard for every prompt."""
    eta: Tensor | None = None if leaderboard.eta is None else leaderboard.eta.reshape(1).expand(num_prompts)
    return Ranking(leaderboard.coefs.expand(num_prompts, -1), eta)


@dataclass(frozen=True)
class Interval:
    """A difference and its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def bootstrap_difference(
    ours: VoteScores, other: VoteScores, metric: str, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of ``metric`` under ``ours`` minus under ``other``, with a bootstrap interval over prompts.

    Whole prompts are drawn with replacement, since votes on one prompt are not independent.
    """
    num_prompts = int(ours.prompt_index.max()) + 1
    difference = (getattr(ours, metric) - getattr(other, metric)) * ours.weight
    sums = np.bincount(ours.prompt_index, weights=difference, minlength=num_prompts)
    weights = np.bincount(ours.prompt_index, weights=ours.weight, minlength=num_prompts)
    rng = np.random.default_rng(seed)
    means = np.empty(BOOTSTRAP_SAMPLES)
    for i in range(BOOTSTRAP_SAMPLES):
        drawn = rng.integers(num_prompts, size=num_prompts)
        means[i] = sums[drawn].sum() / weights[drawn].sum()
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(sums.sum() / weights.sum()), float(low), float(high))
