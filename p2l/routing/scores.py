"""What a router maximises: a score for each model, from the ranking of a prompt."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

Optimizer = Literal["strict", "simple-lp", "optimal-lp"]

_ODDS_HOLD = 200.0  # nats: products of three odds stay finite in float64
_PAIRS_AT_ONCE = 1 << 20
_CLOSE = 1e-12  # logits of a win rate
_MOST_STEPS = 100


@dataclass(frozen=True, eq=False)
class Opponents:
    """Whom a model meets: ``models`` (indices; None: all, in their order) with probabilities ``weights``."""

    models: Tensor | None
    weights: Float64[Tensor, " opponents"]

    @classmethod
    def of(cls, weights: Float64[np.ndarray, " models"]) -> "Opponents":
        """From one weight for each model, of any positive sum."""
        met = weights.nonzero()[0]
        models = None if len(met) == len(weights) else torch.from_numpy(met)
        return cls(models, torch.from_numpy(weights[met] / weights.sum()))


def scores(
    optimizer: Optimizer,
    family: OutcomeFamily,
    ranking: Ranking,
    opponents: Opponents,
    models: Int64[Tensor, " chosen"] | None = None,
) -> Float64[Tensor, "*batch scored"]:
    """The score of each model (or of some ``models``) on each prompt, as published; it rises with the coefficient.

    ``optimal-lp``: ``win_rates``. ``strict`` and ``simple-lp``: the coefficient (nats), or, where the family has a
    ground level (grk, ba, rk-reparam), sigmoid(coefficient) = P(the answer is usable).
    """
    if optimizer == "optimal-lp":
        return win_rates(family, ranking, opponents, models)
    coefs = _take(ranking.coefs.detach(), models).double()
    return coefs.clone() if family.shift_invariant else coefs.sigmoid()


def win_rates(
    family: OutcomeFamily, ranking: Ranking, opponents: Opponents, models: Int64[Tensor, " chosen"] | None = None
) -> Float64[Tensor, "*batch scored"]:
    """W q: how often each model beats an opponent drawn with probabilities q, in [0, 1].

    W_ij = P(i beats j) + (P(tie) + P(both bad)) / 2 as far as the family has these, so that W_ij + W_ji = 1; under
    Bradley-Terry it is the published sigmoid(b_i - b_j). A model meets itself with its own weight (W_ii = 1/2).
    """
    coefs, eta, odds = _prepare(family, ranking)
    ours, theirs = _take(coefs, models), _take(coefs, opponents.models)
    if coefs.ndim == 1:
        return _wins(family, ours, theirs, eta, odds) @ opponents.weights
    chunk = max(1, _PAIRS_AT_ONCE // (ours.shape[-1] * theirs.shape[-1]))
    ours_flat, theirs_flat = ours.reshape(-1, ours.shape[-1]), theirs.reshape(-1, theirs.shape[-1])
    parts = []
    for start in range(0, len(ours_flat), chunk):
        rows = slice(start, start + chunk)
        part_eta = None if eta is None else eta.reshape(-1)[rows, None, None]
        parts.append(_wins(family, ours_flat[rows], theirs_flat[rows], part_eta, odds) @ opponents.weights)
    return torch.cat(parts).reshape(ours.shape)


def _take(coefs: Tensor, models: Tensor | None) -> Tensor:
    return coefs if models is None else coefs[..., models]


def _prepare(family: OutcomeFamily, ranking: Ranking) -> tuple[Tensor, Tensor | None, bool]:
    """Coefficients and eta in float64, and whether their odds can be multiplied without overflow."""
    coefs = ranking.coefs.detach().double()
    eta = None if ranking.eta is None else ranking.eta.detach().double()
    ends = torch.aminmax(coefs)
    low, high = ends.min.item(), ends.max.item()
    if family.shift_invariant and not -_ODDS_HOLD < low <= high < _ODDS_HOLD:
        middle = (low + high) / 2  # as good a zero as any
        coefs, low, high = coefs - middle, low - middle, high - middle
    largest = max(-low, high) if eta is None else max(-low, high, eta.abs().amax().item())
    return coefs, eta, largest < _ODDS_HOLD


def _wins(family: OutcomeFamily, ours: Tensor, theirs: Tensor, eta: Tensor | None, odds: bool) -> Tensor:
    """W of every pair of ours (..., a) and theirs (..., b): (..., a, b)."""
    ours, theirs = ours.unsqueeze(-1), theirs.unsqueeze(-2)
    if odds:
        probs = family.probs_from_odds(ours.exp(), theirs.exp(), eta)
    else:
        probs = family.log_probs(ours, theirs, eta).exp().unbind(-1)
    win, _, *ties = probs
    return win + torch.stack(ties).sum(0) / 2 if ties else win


def strength(
    family: OutcomeFamily,
    ranking: Ranking,
    opponents: Opponents,
    win_rate: float,
    between: tuple[tuple[float, float], tuple[float, float]],
) -> float:
    """The coefficient theta (nats) of one model that would win as often: sum_j q_j W(theta, b_j) = ``win_rate``.

    Under Bradley-Terry it is the router's own coefficient, Algorithm 1 of Frick et al. 2025 (arXiv:2502.14855); other
    families count ties as half, at the prompt's eta. ``between``: the coefficients and win rates of the two models that
    are mixed, the worse first. False position with the Illinois rule on logits, where the win rate is nearly a line.
    """
    coefs, eta, odds = _prepare(family, ranking)
    theirs = _take(coefs, opponents.models)
    shift = float(ranking.coefs[0].double() - coefs[0])
    target = _logit(win_rate)
    (low, low_rate), (high, high_rate) = ((coef - shift, rate) for coef, rate in between)
    below, above = _logit(low_rate) - target, _logit(high_rate) - target
    theta, side = (low + high) / 2, 0
    for _ in range(_MOST_STEPS):
        theta = high - above * (high - low) / (above - below) if above > below else math.nan
        if not low < theta < high:  # saturated
            theta = (low + high) / 2
        rate = _wins(family, theirs.new_tensor([theta]), theirs, eta, odds) @ opponents.weights
        excess = _logit(float(rate)) - target
        if abs(excess) < _CLOSE or high - low < _CLOSE:
            break
        if excess < 0:
            low, below, above, side = theta, excess, above / (2 if side < 0 else 1), -1
        else:
            high, above, below, side = theta, excess, below / (2 if side > 0 else 1), 1
    return theta + shift


def _logit(probability: float) -> float:
    if 0 < probability < 1:
        return math.log(probability / (1 - probability))
    return math.inf if probability > 0 else -math.inf
