"""How well log-probabilities predict votes, one number a vote; each formula once for all likelihood families.

``log_probs`` are those of the outcomes of a family, and ``targets`` a vote's share of each: one-hot for a vote that
says which outcome it was, halves for a tie under "bt-tie", zeros where a vote carries no evidence in the family.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LogProbs = Float[Tensor, "votes outcomes"]
Targets = Float[Tensor, "votes outcomes"]
Scores = Float[Tensor, " votes"]


def log_loss(log_probs: LogProbs, targets: Targets) -> Scores:
    """-sum_k t_k log p_k, in nats."""
    return -(targets * log_probs).sum(-1)


def accuracy(log_probs: LogProbs, targets: Targets) -> Scores:
    """The vote's share in the most probable outcome: 0 or 1 for a hard vote, 1/2 for a tie that is half a win."""
    return targets.gather(-1, log_probs.argmax(-1, keepdim=True)).squeeze(-1)


def brier(log_probs: LogProbs, targets: Targets) -> Scores:
    """sum_k (p_k - t_k)^2, in [0, 2]; zero where a vote carries no evidence."""
    return (log_probs.exp() - targets).square().sum(-1) * (targets.sum(-1) > 0)


def squared_error(log_probs: LogProbs, targets: Targets) -> Scores:
    """(1 - sum_k t_k p_k)^2, the published MSELoss: only the probability of what was observed counts."""
    return (1 - (log_probs.exp() * targets).sum(-1)).square()


def two_sided(log_yes: Scores, log_no: Scores) -> LogProbs:
    """The log-probabilities of an event and of its opposite as those of a family of two outcomes."""
    return torch.stack((log_yes, log_no), dim=-1)
