"""The leaderboard of a group of prompts, with intervals over prompts, and differences of two such leaderboards.

A P2L model ranks each prompt; the leaderboard of a group is the projection of its rankings
(``p2l.leaderboard.aggregate``). Its covariance follows from the influence of each prompt, without a second fit: the
projection solves a mean of scores, one for each prompt, so the delta method applies (the infinitesimal jackknife; the
tests compare it to a bootstrap over prompts). Intervals cover the choice of prompts, not the error of the P2L model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from p2l.leaderboard import aggregate, leaderboard_table
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT
from p2l.statistics.intervals import intervals, normal_quantile, rank_ranges, student_p_value, student_quantile
from p2l.types import Ranking

_COLUMNS = ["rank", "rank_best", "rank_worst", "model", "coef", "elo", "elo_low", "elo_high", "win_rate"]
NUMBERS_AT_ONCE = 4_000_000  # probabilities in a chunk of prompts: 32 MB


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
    """

    models: tuple[str, ...]
    family: OutcomeFamily
    rows: Int64[np.ndarray, " prompts"]
    ranking: Ranking
    influence: Float64[np.ndarray, "prompts models"]

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
        prompt has no interval (NaN) and allows any rank.
        """
        covariance = self._covariance(level)
        low, high = intervals(self.elo, covariance, None, level)
        best, worst = rank_ranges(self.elo, covariance, None, level)
        ends = {"elo_low": low, "elo_high": high, "rank_best": best, "rank_worst": worst}
        table = leaderboard_table(self.models, self.ranking, self.family)
        return table.merge(pd.DataFrame({"model": self.models, **ends}), on="model", validate="one_to_one")[_COLUMNS]

    def _covariance(self, level: float) -> np.ndarray:
        """Return the covariance of ``elo``, scaled so that normal intervals equal Student's t intervals."""
        if len(self) < 2:
            return np.full((len(self.models), len(self.models)), np.nan)
        stretch = student_quantile(level, len(self)) / normal_quantile(level)
        moved = self.influence * (ELO_POINTS_PER_NAT * stretch)
        return moved.T @ moved * len(self) / (len(self) - 1)

    def standing(self) -> tuple[Float64[np.ndarray, " models"], Float64[np.ndarray, "prompts models"]]:
        """Return ``elo`` in units of ``spread``, and the influence of each prompt on it."""
        elo, spread = self.elo, max(self.spread, 1e-9)
        moved = self.influence * ELO_POINTS_PER_NAT
        wider = moved @ elo / (len(elo) * spread)
        return elo / spread, (moved - np.outer(wider, elo / spread)) / spread


def group_leaderboard(
    models: Sequence[str], family: OutcomeFamily, rankings: Ranking, rows: Int64[np.ndarray, " prompts"]
) -> GroupLeaderboard:
    """Return the leaderboard of the prompts ``rows`` (at least one) of ``rankings``."""
    group = rankings.map(lambda x: x[rows].double())
    ranking = aggregate(group, family)
    influence = _influence(group, family, ranking).numpy()
    return GroupLeaderboard(tuple(models), family, np.asarray(rows, dtype=np.int64), ranking, influence)


@torch.no_grad()
def _influence(rankings: Ranking, family: OutcomeFamily, at: Ranking) -> Float[Tensor, "prompts models"]:
    """Return inverse(Hessian) x score / prompts of each prompt, centred; ``at`` minimises the cross-entropy."""
    num_prompts, num_models = rankings.coefs.shape
    model_a, model_b = torch.triu_indices(num_models, num_models, 1)
    likelihood = PairLikelihood(family, model_a, model_b, num_models)
    coefs = at.coefs.double()
    point = (coefs if at.eta is None else torch.cat((coefs, at.eta.double().reshape(1))))[None]
    gradients = likelihood.scores(point)[0]
    scores, total = [], torch.zeros(1, len(model_a), len(family.outcomes), dtype=torch.float64)
    chunk = max(1, NUMBERS_AT_ONCE // total.numel())
    for start in range(0, num_prompts, chunk):
        part = slice(start, start + chunk)
        eta = None if rankings.eta is None else rankings.eta[part, None]
        probs = family.log_probs(rankings.coefs[part][:, model_a], rankings.coefs[part][:, model_b], eta).exp()
        scores.append(likelihood.spread(torch.einsum("qro,rop->qrp", probs, gradients)))
        total += probs.sum(0)
    hessian = likelihood.derivatives(point, total).hessian[0]
    # shift-invariant families do not determine the mean: the pseudo-inverse keeps it unchanged
    moved = torch.cat(scores) @ torch.linalg.pinv(hessian, rtol=1e-12, hermitian=True)
    return moved[:, :num_models] - moved[:, :num_models].mean(dim=1, keepdim=True)


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
    of its two influences. Otherwise the prompts are independent. Intervals and ``p_value`` (of no difference) are
    Student's t with the degrees of freedom of the smaller group; NaN if a group has a single prompt.
    """
    size = min(len(here), len(there))
    (standing, moved_here), (reference, moved_there) = here.standing(), there.standing()
    value = (standing - reference) * there.spread
    if size < 2:
        nothing = np.full(len(value), np.nan)
        return EloDifference(value, nothing, nothing, nothing)
    other = there.rows if same_table else -1 - there.rows  # no common rows
    rows, position = np.unique(np.concatenate((here.rows, other)), return_inverse=True)
    moved = np.zeros((len(rows), len(value)))
    np.add.at(moved, position, np.concatenate((moved_here, -moved_there)))
    error = np.sqrt((moved**2).sum(axis=0) * size / (size - 1)) * there.spread
    half = student_quantile(level, size) * error
    statistic = np.abs(value) / np.maximum(error, 1e-9)  # below a billionth of a point the error is zero
    return EloDifference(value, value - half, value + half, student_p_value(statistic, size))
