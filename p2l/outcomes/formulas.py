"""Closed forms of the likelihoods: no ``1 - rest``, no clamp, every log-probability a few logsumexp.

Each formula is written twice, and the tests check that both agree: the log-probabilities, exact at any size, and
``..._from_odds``, the probabilities from A = e^a and B = e^b. The second form is a few multiplications, which makes
means over millions of pairs several times faster than exponentials of the first.

Notation: a, b the coefficients of the two models (nats), d = a - b. Sources: Frick et al. 2025 (arXiv:2502.14855),
section 2 and appendix; Rao and Kupper, JASA 62 (1967).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

# The link of the published "rk" checkpoints from the head's eta to the margin of a tie.
RK_SOFTPLUS_BETA, RK_ETA_SHIFT, RK_MIN_MARGIN = 0.1, 22.5, 0.02
RK_LEAST_ETA = RK_ETA_SHIFT + math.log(math.expm1(RK_SOFTPLUS_BETA * RK_MIN_MARGIN)) / RK_SOFTPLUS_BETA


def bradley_terry(coefs_a: Tensor, coefs_b: Tensor) -> Tensor:
    """P(a wins) = sigmoid(d). Columns: a wins, b wins."""
    difference = coefs_a - coefs_b
    return torch.stack((logsigmoid(difference), logsigmoid(-difference)), dim=-1)


def bradley_terry_from_odds(odds_a: Tensor, odds_b: Tensor) -> tuple[Tensor, ...]:
    """Return the probabilities of ``bradley_terry``."""
    total = odds_a + odds_b
    return odds_a / total, odds_b / total


def rao_kupper(coefs_a: Tensor, coefs_b: Tensor, eta: Tensor) -> Tensor:
    """P(a wins) = sigmoid(d - m), P(tie) = (e^{2m} - 1) P(a wins) P(b wins), with the published margin m(eta).

    Columns: a wins, b wins, tie.
    """
    margin = _margin(eta)
    difference = coefs_a - coefs_b
    log_win, log_lose = logsigmoid(difference - margin), logsigmoid(-difference - margin)
    # log(e^{2m} - 1) without overflow at large m
    log_tie = 2 * margin + torch.log(-torch.expm1(-2 * margin)) + log_win + log_lose
    return torch.stack((log_win, log_lose, log_tie), dim=-1)


def rao_kupper_from_odds(odds_a: Tensor, odds_b: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    """Return the probabilities of ``rao_kupper``."""
    margin = _margin(eta)
    win = odds_a / (odds_a + margin.exp() * odds_b)
    lose = odds_b / (odds_b + margin.exp() * odds_a)
    return win, lose, torch.expm1(2 * margin) * win * lose


def _margin(eta: Tensor) -> Tensor:
    return softplus(eta - RK_ETA_SHIFT, beta=RK_SOFTPLUS_BETA).clamp(min=RK_MIN_MARGIN)


def grounded_rao_kupper(coefs_a: Tensor, coefs_b: Tensor, eta: Tensor, min_theta: float = 1.0) -> Tensor:
    """Rao-Kupper with a third, phantom competitor of coefficient 0: the threshold of a usable answer.

    With a = e^{coef_a}, b = e^{coef_b}, theta = min_theta + e^eta, D_win = a + theta b + 1,
    D_lose = b + theta a + 1, D_bad = 1 + a + b: P(a wins) = a / D_win, P(b wins) = b / D_lose,
    P(both bad) = 1 / D_bad, P(tie) = (theta - 1) a b ((theta + 1)(a + b) + 2) / (D_win D_lose D_bad).
    Columns: a wins, b wins, tie, both bad.
    """
    coefs_a, coefs_b, eta = torch.broadcast_tensors(coefs_a, coefs_b, eta)
    zero = torch.zeros_like(coefs_a)
    log_excess = eta if min_theta == 1.0 else torch.logaddexp(eta, zero + math.log(min_theta - 1))  # log(theta - 1)
    log_theta = torch.logaddexp(zero, log_excess)
    log_sum = torch.logaddexp(coefs_a, coefs_b)
    log_d_win = torch.logaddexp(torch.logaddexp(coefs_a, zero), log_theta + coefs_b)
    log_d_lose = torch.logaddexp(torch.logaddexp(coefs_b, zero), log_theta + coefs_a)
    log_d_bad = torch.logaddexp(log_sum, zero)
    log_bracket = torch.logaddexp(torch.logaddexp(log_theta, zero) + log_sum, zero + math.log(2))
    log_tie = log_excess + coefs_a + coefs_b + log_bracket - log_d_win - log_d_lose - log_d_bad
    return torch.stack((coefs_a - log_d_win, coefs_b - log_d_lose, log_tie, -log_d_bad), dim=-1)


def grounded_rao_kupper_from_odds(
    odds_a: Tensor, odds_b: Tensor, eta: Tensor, min_theta: float = 1.0
) -> tuple[Tensor, ...]:
    """Return the probabilities of ``grounded_rao_kupper``."""
    excess = eta.exp() + (min_theta - 1)
    theta = excess + 1
    total = odds_a + odds_b
    # in place if a number is not needed again: memory bounds the time
    win = odds_a / torch.addcmul(odds_a + 1, theta, odds_b)
    lose = odds_b / torch.addcmul(odds_b + 1, theta, odds_a)
    bad = (total + 1).reciprocal_()
    tie = (total * (theta + 1)).add_(2).mul_(win).mul_(lose).mul_(bad).mul_(excess)
    return win, lose, tie, bad
