"""The score of each model on a prompt, which a router maximises; on arrays of numpy, by the families' formulas."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from p2l.arrays import to_numpy
from p2l.outcomes import OutcomeFamily
from p2l.routing.cost_optimizer import Optimizer
from p2l.types import Ranking

_MAX_LOG_ODDS = 200.0  # nats: products of three odds stay finite in float64
_PAIRS_AT_ONCE = 1 << 16  # numbers that a cache holds
_TOLERANCE = 1e-12  # logits of a win rate
_MAX_STEPS = 100


@dataclass(frozen=True, eq=False)
class Opponents:
    """The opponents of a model: ``models`` (indices; None: all, in order) with probabilities ``weights``."""

    models: Int64[np.ndarray, " opponents"] | None
    weights: Float64[np.ndarray, " opponents"]

    @property
    def indices(self) -> slice | Int64[np.ndarray, " opponents"]:
        """What takes them from an array over models."""
        return slice(None) if self.models is None else self.models

    @classmethod
    def of(cls, weights: Float64[np.ndarray, " models"]) -> "Opponents":
        """Create them from one weight for each model, of any positive sum."""
        met = weights.nonzero()[0]
        return cls(None if len(met) == len(weights) else met, weights[met] / weights.sum())


def scores(
    optimizer: Optimizer,
    family: OutcomeFamily,
    ranking: Ranking,
    opponents: Opponents,
    models: Int64[np.ndarray, " chosen"] | None = None,
    own: Float64[np.ndarray, "*batch models"] | None = None,
) -> Float64[np.ndarray, "*batch scored"]:
    """Return the score of each model (or of some) on each prompt, as published; it rises with the coefficient.

    ``optimal-lp``: ``win_rates``. ``strict`` and ``simple-lp``: ``published_scores``. ``own``: coefficients to score in
    place of those of the ranking; the opponents keep theirs.
    """
    if optimizer == "optimal-lp":
        return win_rates(family, ranking, opponents, models, own)
    return published_scores(family, ranking, models, own)


def published_scores(
    family: OutcomeFamily,
    ranking: Ranking,
    models: Int64[np.ndarray, " chosen"] | None = None,
    own: Float64[np.ndarray, "*batch every"] | None = None,
) -> Float64[np.ndarray, "*batch scored"]:
    """Return the coefficient (nats) of each model (or of some); ``own``: as in ``scores``.

    If the family has a ground level (grk, ba, rk-reparam), its sigmoid instead: P(the answer is usable).
    """
    coefs = _take(to_numpy(ranking.coefs) if own is None else own, models)
    if family.shift_invariant:
        return coefs.copy()
    with np.errstate(over="ignore"):  # e^-coef is infinite below -709, and the answer 0
        return 1 / (1 + np.exp(-coefs))


def win_rates(
    family: OutcomeFamily,
    ranking: Ranking,
    opponents: Opponents,
    models: Int64[np.ndarray, " chosen"] | None = None,
    own: Float64[np.ndarray, "*batch levels"] | None = None,
) -> Float64[np.ndarray, "*batch scored"]:
    """Return W q, how often each model beats an opponent drawn with probabilities q, in [0, 1].

    W_ij = P(i beats j) + (P(tie) + P(both bad)) / 2 as far as the family has them, so that W_ij + W_ji = 1; under
    Bradley-Terry it is the published sigmoid(b_i - b_j). A model meets itself with its own weight (W_ii = 1/2).
    ``own``: as in ``scores``, of any number of models.
    """
    scale = _Scale.of(family, ranking, own)
    levels, eta, odds = scale.levels, scale.eta, scale.odds
    first, second = _take(levels if own is None else scale.level_of(own), models), _take(levels, opponents.models)
    if levels.ndim == 1:
        return _wins(family, first, second, eta, odds) @ opponents.weights
    chunk = max(1, _PAIRS_AT_ONCE // (first.shape[-1] * second.shape[-1]))
    first_flat, second_flat = first.reshape(-1, first.shape[-1]), second.reshape(-1, 1, second.shape[-1])
    found = np.empty(first_flat.shape)
    for start in range(0, len(first_flat), chunk):
        rows = slice(start, start + chunk)
        part_eta = None if eta is None else eta.reshape(-1)[rows, None, None]
        found[rows] = _wins(family, first_flat[rows], second_flat[rows], part_eta, odds) @ opponents.weights
    return found.reshape(first.shape)


def _take(coefs: np.ndarray, models: np.ndarray | None) -> np.ndarray:
    return coefs if models is None else coefs[..., models]


class _Scale(NamedTuple):
    """``levels``: odds e^(coef - shift), or coef - shift if products of such odds may overflow. All in float64."""

    levels: np.ndarray
    eta: np.ndarray | None
    odds: bool
    shift: float

    @classmethod
    def of(cls, family: OutcomeFamily, ranking: Ranking, own: np.ndarray | None = None) -> "_Scale":
        coefs, eta = ranking.numpy()[:2]
        low, high, shift = float(coefs.min()), float(coefs.max()), 0.0
        if own is not None:
            low, high = min(low, float(own.min())), max(high, float(own.max()))
        if family.shift_invariant and not -_MAX_LOG_ODDS < low <= high < _MAX_LOG_ODDS:
            shift = (low + high) / 2  # any zero serves
            coefs, low, high = coefs - shift, low - shift, high - shift
        largest = max(-low, high) if eta is None else max(-low, high, float(np.abs(eta).max()))
        odds = largest < _MAX_LOG_ODDS
        return cls(np.exp(coefs) if odds else coefs, eta, odds, shift)

    def level_of(self, coefs: np.ndarray) -> np.ndarray:
        return np.exp(coefs - self.shift) if self.odds else coefs - self.shift


def _wins(
    family: OutcomeFamily, first: np.ndarray, second: np.ndarray, eta: np.ndarray | None, odds: bool
) -> np.ndarray:
    """Return W for every pair of levels (..., a) and (b) or (..., 1, b), as (..., a, b)."""
    pairs = (first[..., None], second, eta)
    win, _, *ties = family.probs_from_odds(*pairs) if odds else np.moveaxis(np.exp(family.log_probs(*pairs)), -1, 0)
    return win + sum(ties[1:], ties[0]) / 2 if ties else win


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
        level = np.array([math.exp(theta) if scale.odds else theta])
        excess = _logit((_wins(family, level, second, scale.eta, scale.odds) @ opponents.weights).item()) - target
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
