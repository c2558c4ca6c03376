"""Closed forms of the likelihoods: no ``1 - rest``, no clamp, every log-probability a few logsumexp.

Each formula is written twice, and the tests check that both agree: the log-probabilities, exact at any size, and
``..._from_odds``, the probabilities from A = e^a and B = e^b. The second form is a few multiplications, which makes
means over millions of pairs several times faster than exponentials of the first. Both take arrays of numpy or torch.

Notation: a, b the coefficients of the two models (nats), d = a - b. Sources: Frick et al. 2025 (arXiv:2502.14855),
section 2 and appendix; Rao and Kupper, JASA 62 (1967).
"""

import math

from p2l.arrays import Array, add_product, broadcast, log_sigmoid, namespace, softplus

# The link of the published "rk" checkpoints from the head's eta to the margin of a tie.
RK_SOFTPLUS_BETA, RK_ETA_SHIFT, RK_MIN_MARGIN = 0.1, 22.5, 0.02
RK_LEAST_ETA = RK_ETA_SHIFT + math.log(math.expm1(RK_SOFTPLUS_BETA * RK_MIN_MARGIN)) / RK_SOFTPLUS_BETA


def bradley_terry(coefs_a: Array, coefs_b: Array) -> Array:
    """P(a wins) = sigmoid(d). Columns: a wins, b wins."""
    difference = coefs_a - coefs_b
    return namespace(difference).stack((log_sigmoid(difference), log_sigmoid(-difference)), -1)


def bradley_terry_from_odds(odds_a: Array, odds_b: Array) -> tuple[Array, ...]:
    """Return the probabilities of ``bradley_terry``."""
    total = odds_a + odds_b
    return odds_a / total, odds_b / total


def rao_kupper(coefs_a: Array, coefs_b: Array, eta: Array) -> Array:
    """P(a wins) = sigmoid(d - m), P(tie) = (e^{2m} - 1) P(a wins) P(b wins), with the published margin m(eta).

    Columns: a wins, b wins, tie.
    """
    xp, margin, difference = namespace(eta), _margin(eta), coefs_a - coefs_b
    log_win, log_lose = log_sigmoid(difference - margin), log_sigmoid(-difference - margin)
    # log(e^{2m} - 1) without overflow at large m
    log_tie = 2 * margin + xp.log(-xp.expm1(-2 * margin)) + log_win + log_lose
    return xp.stack((log_win, log_lose, log_tie), -1)


def rao_kupper_from_odds(odds_a: Array, odds_b: Array, eta: Array) -> tuple[Array, ...]:
    """Return the probabilities of ``rao_kupper``."""
    xp, margin = namespace(eta), _margin(eta)
    win = odds_a / (odds_a + xp.exp(margin) * odds_b)
    lose = odds_b / (odds_b + xp.exp(margin) * odds_a)
    return win, lose, xp.expm1(2 * margin) * win * lose


def _margin(eta: Array) -> Array:
    return namespace(eta).clip(softplus(eta - RK_ETA_SHIFT, RK_SOFTPLUS_BETA), RK_MIN_MARGIN, None)


def grounded_rao_kupper(coefs_a: Array, coefs_b: Array, eta: Array, min_theta: float = 1.0) -> Array:
    """Rao-Kupper with a third, phantom competitor of coefficient 0: the threshold of a usable answer.

    With a = e^{coef_a}, b = e^{coef_b}, theta = min_theta + e^eta, D_win = a + theta b + 1,
    D_lose = b + theta a + 1, D_bad = 1 + a + b: P(a wins) = a / D_win, P(b wins) = b / D_lose,
    P(both bad) = 1 / D_bad, P(tie) = (theta - 1) a b ((theta + 1)(a + b) + 2) / (D_win D_lose D_bad).
    Columns: a wins, b wins, tie, both bad.
    """
    xp = namespace(eta)
    coefs_a, coefs_b, eta = broadcast(coefs_a, coefs_b, eta)
    zero = xp.zeros_like(coefs_a)
    log_excess = eta if min_theta == 1.0 else xp.logaddexp(eta, zero + math.log(min_theta - 1))  # log(theta - 1)
    log_theta = xp.logaddexp(zero, log_excess)
    log_sum = xp.logaddexp(coefs_a, coefs_b)
    log_d_win = xp.logaddexp(xp.logaddexp(coefs_a, zero), log_theta + coefs_b)
    log_d_lose = xp.logaddexp(xp.logaddexp(coefs_b, zero), log_theta + coefs_a)
    log_d_bad = xp.logaddexp(log_sum, zero)
    log_bracket = xp.logaddexp(xp.logaddexp(log_theta, zero) + log_sum, zero + math.log(2))
    log_tie = log_excess + coefs_a + coefs_b + log_bracket - log_d_win - log_d_lose - log_d_bad
    return xp.stack((coefs_a - log_d_win, coefs_b - log_d_lose, log_tie, -log_d_bad), -1)


def grounded_rao_kupper_from_odds(
    odds_a: Array, odds_b: Array, eta: Array, min_theta: float = 1.0
) -> tuple[Array, ...]:
    """Return the probabilities of ``grounded_rao_kupper``."""
    excess = namespace(eta).exp(eta) + (min_theta - 1)
    theta = excess + 1
    total = odds_a + odds_b
    # in place if a number is not needed again: memory bounds the time
    win = odds_a / add_product(odds_a + 1, theta, odds_b)
    lose = odds_b / add_product(odds_b + 1, theta, odds_a)
    bad = 1 / (total + 1)
    tie = total * (theta + 1)
    tie += 2
    for factor in (win, lose, bad, excess):
        tie *= factor
    return win, lose, tie, bad
