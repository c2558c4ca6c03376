"""Scores of predicted votes, one number a vote; each formula once for all likelihood families.

``log_probs`` belong to the outcomes of a family; ``targets`` are the shares of a vote in them. A vote for one outcome
is one-hot, a tie under "bt-tie" is two halves, and a vote without evidence in the family is all zeros.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LogProbs = Float[Tensor, "votes outcomes"]
Targets = Float[Tensor, "votes outcomes"]
Scores = Float[Tensor, " votes"]


def log_loss(log_probs: LogProbs, targets: Targets) -> Scores:
    """Return -sum_k t_k log p_k, in nats."""
    return -(targets * log_probs).sum(-1)


def accuracy(log_probs: LogProbs, targets: Targets) -> Scores:
    """Return the vote's share of the most probable outcome: 0 or 1 for a hard vote, 1/2 for a tie under "bt-tie"."""
    return targets.gather(-1, log_probs.argmax(-1, keepdim=True)).squeeze(-1)


def brier(log_probs: LogProbs, targets: Targets) -> Scores:
    """Return sum_k (p_k - t_k)^2, in [0, 2]; 0 for a vote without evidence."""
    return (log_probs.exp() - targets).square().sum(-1) * (targets.sum(-1) > 0)


def squared_error(log_probs: LogProbs, targets: Targets) -> Scores:
    """Return (1 - sum_k t_k p_k)^2, the published MSELoss: only the probability of the observed outcome counts."""
    return (1 - (log_probs.exp() * targets).sum(-1)).square()


def two_sided(log_yes: Scores, log_no: Scores) -> LogProbs:
    """Stack the log-probabilities of an event and of its complement like those of a family of two outcomes."""
    return torch.stack((log_yes, log_no), dim=-1)
