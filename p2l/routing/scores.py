"""The score of each model on a prompt, which a router maximises."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.special import expit
from torch import Tensor

from p2l.outcomes import OutcomeFamily
from p2l.outcomes.formulas import bradley_terry
from p2l.types import Ranking

Optimizer = Literal["strict", "simple-lp", "optimal-lp"]

_MAX_LOG_ODDS = 200.0  # nats: products of three odds stay finite in float64
_PAIRS_AT_ONCE = 1 << 20
_FEW_PAIRS = 1 << 10  # with more pairs, tensors of odds are faster than an exponential for each pair
_TOLERANCE = 1e-12  # logits of a win rate
_MAX_STEPS = 100


@dataclass(frozen=True, eq=False)
class Opponents:
    """The opponents of a model: ``models`` (indices; None: all, in order) with probabilities ``weights``."""

    models: Tensor | None
    weights: Float64[Tensor, " opponents"]

    @classmethod
    def of(cls, weights: Float64[np.ndarray, " models"]) -> "Opponents":
        """Create them from one weight for each model, of any positive sum."""
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
    """Return the score of each model (or of some) on each prompt, as published; it rises with the coefficient.

    ``optimal-lp``: ``win_rates``. ``strict`` and ``simple-lp``: the coefficient (nats), or, if the family has a ground
    level (grk, ba, rk-reparam), sigmoid(coefficient) = P(the answer is usable).
    """
    if optimizer == "optimal-lp":
        return win_rates(family, ranking, opponents, models)
    coefs = _take(ranking.coefs.detach(), models).double()
    return coefs.clone() if family.shift_invariant else coefs.sigmoid()


def win_rates(
    family: OutcomeFamily, ranking: Ranking, opponents: Opponents, models: Int64[Tensor, " chosen"] | None = None
) -> Float64[Tensor, "*batch scored"]:
    """Return W q, how often each model beats an opponent drawn with probabilities q, in [0, 1].

    W_ij = P(i beats j) + (P(tie) + P(both bad)) / 2 as far as the family has them, so that W_ij + W_ji = 1; under
    Bradley-Terry it is the published sigmoid(b_i - b_j). A model meets itself with its own weight (W_ii = 1/2).
    """
    plain = ranking.coefs.ndim == 1 and family.formula is bradley_terry
    if plain and models is not None and len(models) * len(opponents.weights) <= _FEW_PAIRS:
        return torch.from_numpy(_bradley_terry_win_rates(ranking.coefs, opponents, models))
    levels, eta, odds, _ = _Scale.of(family, ranking)
    first, second = _take(levels, models), _take(levels, opponents.models)
    if levels.ndim == 1:
        return _wins(family, first, second, eta, odds).mv(opponents.weights)
    chunk = max(1, _PAIRS_AT_ONCE // (first.shape[-1] * second.shape[-1]))
    first_flat, second_flat = first.reshape(-1, first.shape[-1]), second.reshape(-1, 1, second.shape[-1])
    parts = []
    for start in range(0, len(first_flat), chunk):
        rows = slice(start, start + chunk)
        part_eta = None if eta is None else eta.reshape(-1)[rows, None, None]
        parts.append(_wins(family, first_flat[rows], second_flat[rows], part_eta, odds) @ opponents.weights)
    return torch.cat(parts).reshape(first.shape)


def _bradley_terry_win_rates(coefs: Tensor, opponents: Opponents, models: Tensor) -> np.ndarray:
    """Return the win rates of a few models on one prompt; numpy, since tensor calls would dominate the time."""
    numbers = coefs.detach().numpy().astype(np.float64, copy=False)
    second = numbers if opponents.models is None else numbers[opponents.models.numpy()]
    return expit(numbers[models.numpy()][:, None] - second) @ opponents.weights.numpy()


def _take(coefs: Tensor, models: Tensor | None) -> Tensor:
    return coefs if models is None else coefs.index_select(-1, models)


class _Scale(NamedTuple):
    """``levels``: odds e^(coef - shift), or coef - shift if products of such odds may overflow. All in float64."""

    levels: Tensor
    eta: Tensor | None
    odds: bool
    shift: float

    @classmethod
    def of(cls, family: OutcomeFamily, ranking: Ranking) -> "_Scale":
        coefs = ranking.coefs.detach().double()
        eta = None if ranking.eta is None else ranking.eta.detach().double()
        ends = torch.aminmax(coefs)
        low, high, shift = ends.min.item(), ends.max.item(), 0.0
        if family.shift_invariant and not -_MAX_LOG_ODDS < low <= high < _MAX_LOG_ODDS:
            shift = (low + high) / 2  # any zero serves
            coefs, low, high = coefs - shift, low - shift, high - shift
        largest = max(-low, high) if eta is None else max(-low, high, eta.abs().amax().item())
        odds = largest < _MAX_LOG_ODDS
        return cls(coefs.exp() if odds else coefs, eta, odds, shift)


def _wins(family: OutcomeFamily, first: Tensor, second: Tensor, eta: Tensor | None, odds: bool) -> Tensor:
    """Return W for every pair of levels (..., a) and (b) or (..., 1, b), as (..., a, b)."""
    pairs = (first.unsqueeze(-1), second, eta)
    win, _, *ties = family.probs_from_odds(*pairs) if odds else family.log_probs(*pairs).exp().unbind(-1)
    return win + torch.stack(ties).sum(0) / 2 if ties else win


def strength(
    family: OutcomeFamily,
    ranking: Ranking,
    opponents: Opponents,
    win_rate: float,
    between: tuple[tuple[float, float], tuple[float, float]],
) -> float:
    """Return the coefficient theta (nats) of one model that wins as often: sum_j q_j W(theta, b_j) = ``win_rate``.

    Under Bradley-Terry it is the router's own coefficient, Algorithm 1 of Frick et al. 2025 (arXiv:2502.14855); other
    families count ties as half, at the prompt's eta. ``between``: coefficients and win rates of the two mixed models,
    the worse first. Solved by false position with the Illinois rule on logits, in which the win rate is nearly linear.
    """
    scale = _Scale.of(family, ranking)
    second = _take(scale.levels, opponents.models)
    target = _logit(win_rate)
    (low, low_rate), (high, high_rate) = ((coef - scale.shift, rate) for coef, rate in between)
    below, above = _logit(low_rate) - target, _logit(high_rate) - target
    theta, side = (low + high) / 2, 0
    for _ in range(_MAX_STEPS):
        theta = high - above * (high - low) / (above - below) if above > below else math.nan
        if not low < theta < high:  # saturated
            theta = (low + high) / 2
        level = second.new_tensor([math.exp(theta) if scale.odds else theta])
        excess = _logit(_wins(family, level, second, scale.eta, scale.odds).mv(opponents.weights).item()) - target
        if abs(excess) < _TOLERANCE or high - low < _TOLERANCE:
            break
        if excess < 0:
            low, below, above, side = theta, excess, above / (2 if side < 0 else 1), -1
        else:
            high, above, below, side = theta, excess, below / (2 if side > 0 else 1), 1
    return theta + scale.shift


def _logit(probability: float) -> float:
    if 0 < probability < 1:
        return math.log(probability / (1 - probability))
    return math.inf if probability > 0 else -math.inf
