"""The leaderboard of a group of prompts, with intervals over prompts, and differences of two such leaderboards.

A P2L model ranks each prompt; the leaderboard of a group is the projection of its rankings
(``p2l.leaderboard.aggregate``). Its covariance follows from the influence of each prompt, without a second fit: the
projection solves a mean of scores, one for each prompt, so the delta method applies (the infinitesimal jackknife; the
tests compare it to a bootstrap over prompts). To this the posterior of the P2L model's head, if there is one, adds the
error that the model makes on these prompts; without one, intervals cover the choice of prompts alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from p2l.arrays import to_numpy
from p2l.head_posterior import HeadPosterior
from p2l.leaderboard import aggregate, leaderboard_table
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT
from p2l.statistics.intervals import intervals, normal_quantile, rank_ranges, student_p_value, student_quantile
from p2l.types import Ranking

_COLUMNS = ["rank", "rank_best", "rank_worst", "model", "coef", "elo", "elo_low", "elo_high", "win_rate"]
NUMBERS_AT_ONCE = 4_000_000  # probabilities in a chunk of prompts: 32 MB


class ModelError(NamedTuple):
    """The error that a P2L model makes on a leaderboard: the sum of the rows, each times a standard normal number.

    ``level``: of the mean leaderboard, which all groups share. ``own``: of how this group differs from it.
    """

    level: Float64[np.ndarray, "outputs models"]
    own: Float64[np.ndarray, "outputs models"]

    def covariance(self) -> Float64[np.ndarray, "models models"]:
        return self.level.T @ self.level + self.own.T @ self.own


@dataclass(frozen=True, eq=False)
class GroupLeaderboard:
    """One leaderboard for a group of prompts.

    Attributes:
        models: the LLMs.
        family: likelihood family of the rankings.
        rows: positions of the group's prompts in their table.
        ranking: the projection: coefs (models,), eta () or None, float64, in nats.
        influence: contribution of each prompt to the error of each centred coefficient (nats). To first order, the
            error of the estimate is their sum over randomly drawn prompts.
        model_error: of the centred coefficients (nats), from the posterior of the P2L model's head; None: not known.
    """

    models: tuple[str, ...]
    family: OutcomeFamily
    rows: Int64[np.ndarray, " prompts"]
    ranking: Ranking
    influence: Float64[np.ndarray, "prompts models"]
    model_error: ModelError | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def elo(self) -> Float64[np.ndarray, " models"]:
        """Elo points above the mean LLM."""
        coefs = self.ranking.coefs.numpy()
        return (coefs - coefs.mean()) * ELO_POINTS_PER_NAT

    @property
    def spread(self) -> float:
        """Standard deviation of ``elo`` over the LLMs."""
        return float(np.std(self.elo))

    @property
    def ranks(self) -> Int64[np.ndarray, " models"]:
        """1 is best; in the order of ``models``."""
        ranks = np.empty(len(self.models), dtype=np.int64)
        ranks[np.argsort(-self.elo, kind="stable")] = np.arange(1, len(self.models) + 1)
        return ranks

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Return the LLMs, best first, with intervals at ``level``.

        Columns: rank, rank_best and rank_worst (allowed by the intervals of differences), model, coef (nats), elo,
        elo_low and elo_high (points above the mean LLM), win_rate (against each other LLM, ties half). A group of one
        prompt has no interval (NaN) and allows any rank. With a ``model_error``, intervals hold it, too, and the
        standard errors (points) are error_prompts, for the choice of the prompts, and error_model.
        """
        prompts = self._covariance(level)
        covariance = prompts + self._model_covariance()
        low, high = intervals(self.elo, covariance, None, level)
        best, worst = rank_ranges(self.elo, covariance, None, level)
        ends = {"elo_low": low, "elo_high": high, "rank_best": best, "rank_worst": worst}
        parts = {}
        if self.model_error is not None:
            of_prompts = np.sqrt(np.diag(prompts)) * normal_quantile(level) / student_quantile(level, max(len(self), 2))
            parts = {"error_prompts": of_prompts, "error_model": np.sqrt(np.diag(self._model_covariance()))}
        table = leaderboard_table(self.models, self.ranking, self.family)
        return table.merge(pd.DataFrame({"model": self.models, **ends, **parts}), on="model", validate="one_to_one")[
            [*_COLUMNS, *parts]
        ]

    def _covariance(self, level: float) -> np.ndarray:
        """Return the covariance of ``elo``, scaled so that normal intervals equal Student's t intervals."""
        if len(self) < 2:
            return np.full((len(self.models), len(self.models)), np.nan)
        stretch = student_quantile(level, len(self)) / normal_quantile(level)
        moved = self.influence * (ELO_POINTS_PER_NAT * stretch)
        return moved.T @ moved * len(self) / (len(self) - 1)

    def _model_covariance(self) -> Float64[np.ndarray, "models models"]:
        """Return what the model's error adds to the covariance of ``elo``; 0 if it is not known."""
        size = len(self.models)
        nothing = np.zeros((size, size))
        return nothing if self.model_error is None else self.model_error.covariance() * ELO_POINTS_PER_NAT**2

    @property
    def standing(self) -> Float64[np.ndarray, " models"]:
        """``elo`` in units of ``spread``."""
        return self.elo / max(self.spread, 1e-9)

    def on_standing(self, moved: Float64[np.ndarray, "causes models"]) -> Float64[np.ndarray, "causes models"]:
        """Return how far causes that move the centred coefficients (nats) move ``standing``, to first order."""
        elo, spread = self.elo, max(self.spread, 1e-9)
        moved = moved * ELO_POINTS_PER_NAT
        wider = moved @ elo / (len(elo) * spread)
        return (moved - np.outer(wider, elo / spread)) / spread


def group_leaderboard(
    models: Sequence[str],
    family: OutcomeFamily,
    rankings: Ranking,
    rows: Int64[np.ndarray, " prompts"],
    posterior: HeadPosterior | None = None,
    *,
    alike: bool = True,
) -> GroupLeaderboard:
    """Return the leaderboard of the prompts ``rows`` (at least one) of ``rankings``.

    ``posterior``: of the head that made the rankings, which have states; it tells the model's error. If the prompts are
    ``alike`` (a topic, a cluster), the model is taken to err in the same way on all of them: its error is that of a
    typical one of them. Else errors beyond those of the head's weights cancel.
    """
    group = rankings.map(lambda x: x[rows].double())
    ranking = aggregate(group, family)
    influence, response = _influence(group, family, ranking)
    error = None
    if posterior is not None and group.states is not None:
        level, own = posterior.factors(to_numpy(group.states), alike=alike)
        error = ModelError(level @ response.numpy(), own @ response.numpy())
    places = np.asarray(rows, dtype=np.int64)
    return GroupLeaderboard(tuple(models), family, places, ranking, influence.numpy(), error)


@torch.no_grad()
def _influence(
    rankings: Ranking, family: OutcomeFamily, at: Ranking
) -> tuple[Float[Tensor, "prompts models"], Float[Tensor, "outputs models"]]:
    """Return inverse(Hessian) x score / prompts of each prompt, centred; ``at`` minimises the cross-entropy.

    Then how the centred coefficients respond to each output of the head, if it changes by the same on every prompt.
    """
    num_prompts, num_models = rankings.coefs.shape
    model_a, model_b = torch.triu_indices(num_models, num_models, 1)
    likelihood = PairLikelihood(family, model_a, model_b, num_models)
    points = _parameters(rankings)
    point = _parameters(at.map(lambda x: x[None]))
    gradients = likelihood.scores(point)[0]
    scores, total = [], torch.zeros(1, len(model_a), len(family.outcomes), dtype=torch.float64)
    by_row = torch.zeros((), dtype=torch.float64)
    chunk = max(1, NUMBERS_AT_ONCE // total.numel())
    for start in range(0, num_prompts, chunk):
        part = points[start : start + chunk]
        probs = likelihood.log_probs(part).exp()
        scores.append(likelihood.spread(torch.einsum("qro,rop->qrp", probs, gradients)))
        total += probs.sum(0)
        by_row = by_row + torch.einsum("qro,rok,qrol->rkl", probs, gradients, likelihood.scores(part))
    hessian = likelihood.derivatives(point, total).hessian[0]
    # shift-invariant families do not determine the mean: the pseudo-inverse keeps it unchanged
    inverse = torch.linalg.pinv(hessian, rtol=1e-12, hermitian=True)
    moved = (torch.cat(scores) @ inverse, _spread_apart(likelihood, by_row).T @ inverse)
    of_prompts, of_outputs = (x[:, :num_models] - x[:, :num_models].mean(dim=1, keepdim=True) for x in moved)
    return of_prompts, of_outputs


def _parameters(rankings: Ranking) -> Float[Tensor, "prompts parameters"]:
    eta = [] if rankings.eta is None else [rankings.eta.double()[:, None]]
    return torch.cat((rankings.coefs.double(), *eta), dim=1)


def _spread_apart(
    likelihood: PairLikelihood, by_row: Float[Tensor, "rows points points"]
) -> Float[Tensor, "parameters parameters"]:
    """Sum a second-order quantity of the rows' numbers, which need not be symmetric, to one of the parameters."""
    size = likelihood.num_parameters
    places = [likelihood.model_a, likelihood.model_b, torch.full_like(likelihood.model_a, size - 1)]
    place = torch.stack(places[: by_row.shape[-1]], dim=-1)
    flat = place[:, :, None] * size + place[:, None, :]
    return by_row.new_zeros(size * size).scatter_add_(0, flat.flatten(), by_row.flatten()).view(size, size)


@dataclass(frozen=True, eq=False)
class EloDifference:
    """Difference of each LLM between two leaderboards, in Elo points, with its interval; see ``difference``."""

    value: Float64[np.ndarray, " models"]
    low: Float64[np.ndarray, " models"]
    high: Float64[np.ndarray, " models"]
    p_value: Float64[np.ndarray, " models"]


def difference(
    here: GroupLeaderboard, there: GroupLeaderboard, *, same_table: bool = True, level: float = 0.95
) -> EloDifference:
    """Return standing on ``here`` minus standing on ``there``, in Elo points at the spread of ``there``.

    Some prompts separate the LLMs more than others: on raw Elo points every good LLM would seem strong there, and every
    bad one weak. So both leaderboards are first scaled to the same spread, and only relative positions differ.

    With ``same_table``, equal ``rows`` are the same prompts: a prompt in both groups counts once, with the difference
    of its two influences. Otherwise the prompts are independent. The error of the model is in the intervals if both
    leaderboards know it, of the same head. Intervals and ``p_value`` (of no difference) are Student's t with the
    degrees of freedom of the smaller group; NaN if a group has a single prompt.
    """
    size = min(len(here), len(there))
    value = (here.standing - there.standing) * there.spread
    if size < 2:
        nothing = np.full(len(value), np.nan)
        return EloDifference(value, nothing, nothing, nothing)
    other = there.rows if same_table else -1 - there.rows  # no common rows
    rows, position = np.unique(np.concatenate((here.rows, other)), return_inverse=True)
    moved = np.zeros((len(rows), len(value)))
    apart = np.concatenate((here.on_standing(here.influence), -there.on_standing(there.influence)))
    np.add.at(moved, position, apart)
    variance = (moved**2).sum(axis=0) * size / (size - 1) + _model_variance(here, there)
    error = np.sqrt(variance) * there.spread
    half = student_quantile(level, size) * error
    statistic = np.abs(value) / np.maximum(error, 1e-9)  # below a billionth of a point the error is zero
    return EloDifference(value, value - half, value + half, student_p_value(statistic, size))


def _model_variance(here: GroupLeaderboard, there: GroupLeaderboard) -> Float64[np.ndarray, " models"]:
    """Return the variance of the difference of two standings by the model's error: what they share cancels."""
    if here.model_error is None or there.model_error is None:
        return np.zeros(len(here.models))
    level = here.on_standing(here.model_error.level) - there.on_standing(there.model_error.level)
    own = (board.on_standing(board.model_error.own) for board in (here, there) if board.model_error is not None)
    return (level**2).sum(axis=0) + sum((one**2).sum(axis=0) for one in own)
