"""The leaderboard of a group of prompts, with intervals over prompts, and differences between two of them.

A P2L model ranks each prompt; the leaderboard of a group is the projection of its rankings (``p2l.leaderboard.
aggregate``). How far it moves when other prompts of the same sort had been asked is read off each prompt's influence,
so that no group is fitted twice: the projection solves a mean of scores, one for each prompt, and the delta method
gives its covariance (the infinitesimal jackknife; a bootstrap over prompts agrees, see the tests). Intervals are about
the choice of prompts. They do not hold the error of the P2L model itself.
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
from p2l.leaderboard.table import ELO_POINTS_PER_NAT
from p2l.outcomes import OutcomeFamily
from p2l.statistics.intervals import intervals, normal_quantile, rank_ranges, student_p_value, student_quantile
from p2l.types import Ranking

_COLUMNS = ["rank", "rank_best", "rank_worst", "model", "coef", "elo", "elo_low", "elo_high", "win_rate"]
NUMBERS_AT_ONCE = 4_000_000  # probabilities of a chunk of prompts: 32 MB


@dataclass(frozen=True, eq=False)
class GroupLeaderboard:
    """One leaderboard for a group of prompts.

    Attributes:
        models: the LLMs.
        family: of the rankings.
        rows: which prompts of their table the group holds.
        ranking: their projection: coefs (models,), eta () or None, float64, in nats.
        influence: by how much each prompt moves each coefficient above the mean one (nats): to first order, the
            estimate is off by their sum over the prompts, were these drawn at random.
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
        """How far apart the LLMs are: the standard deviation of ``elo``."""
        return float(np.std(self.elo))

    @property
    def ranks(self) -> Int64[np.ndarray, " models"]:
        """1 is best; in the order of ``models``."""
        ranks = np.empty(len(self.models), dtype=np.int64)
        ranks[np.argsort(-self.elo, kind="stable")] = np.arange(1, len(self.models) + 1)
        return ranks

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """The LLMs, best first, with intervals at ``level``.

        Columns: rank, rank_best and rank_worst (what the intervals of differences allow), model, coef (nats), elo,
        elo_low and elo_high (points above the mean LLM), win_rate (against each other LLM, ties half). A single prompt
        has no interval (NaN) and allows any rank.
        """
        covariance = self._covariance(level)
        low, high = intervals(self.elo, covariance, None, level)
        best, worst = rank_ranges(self.elo, covariance, None, level)
        ends = {"elo_low": low, "elo_high": high, "rank_best": best, "rank_worst": worst}
        table = leaderboard_table(self.models, self.ranking, self.family)
        return table.merge(pd.DataFrame({"model": self.models, **ends}), on="model", validate="one_to_one")[_COLUMNS]

    def _covariance(self, level: float) -> np.ndarray:
        """Of ``elo``, stretched so that normal intervals at ``level`` are those of Student's t for so few prompts."""
        if len(self) < 2:
            return np.full((len(self.models), len(self.models)), np.nan)
        stretch = student_quantile(level, len(self)) / normal_quantile(level)
        moved = self.influence * (ELO_POINTS_PER_NAT * stretch)
        return moved.T @ moved * len(self) / (len(self) - 1)

    def standing(self) -> tuple[Float64[np.ndarray, " models"], Float64[np.ndarray, "prompts models"]]:
        """``elo`` in units of ``spread``, and the influence of each prompt on it."""
        elo, spread = self.elo, max(self.spread, 1e-9)
        moved = self.influence * ELO_POINTS_PER_NAT
        wider = moved @ elo / (len(elo) * spread)
        return elo / spread, (moved - np.outer(wider, elo / spread)) / spread


def group_leaderboard(
    models: Sequence[str], family: OutcomeFamily, rankings: Ranking, rows: Int64[np.ndarray, " prompts"]
) -> GroupLeaderboard:
    """The leaderboard of the prompts ``rows`` of ``rankings``, of which there must be one."""
    group = rankings.map(lambda x: x[rows].double())
    ranking = aggregate(group, family)
    influence = _influence(group, family, ranking).numpy()
    return GroupLeaderboard(tuple(models), family, np.asarray(rows, dtype=np.int64), ranking, influence)


@torch.no_grad()
def _influence(rankings: Ranking, family: OutcomeFamily, at: Ranking) -> Float[Tensor, "prompts models"]:
    """inverse(Hessian) x score of each prompt / prompts, of the cross-entropy that ``at`` minimises; centred."""
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
    # the mean of a shift-invariant family is free: the pseudo-inverse leaves it alone
    moved = torch.cat(scores) @ torch.linalg.pinv(hessian, rtol=1e-12, hermitian=True)
    return moved[:, :num_models] - moved[:, :num_models].mean(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class EloDifference:
    """How much higher each LLM stands on one leaderboard than on another, with its interval; see ``difference``."""

    value: Float64[np.ndarray, " models"]
    low: Float64[np.ndarray, " models"]
    high: Float64[np.ndarray, " models"]
    p_value: Float64[np.ndarray, " models"]


def difference(
    here: GroupLeaderboard, there: GroupLeaderboard, *, same_table: bool = True, level: float = 0.95
) -> EloDifference:
    """Standing on ``here`` minus standing on ``there``, in Elo points at the spread of ``there``.

    Some prompts set the LLMs further apart than others. On Elo points alone every good LLM would seem strong there and
    every bad one weak, so both leaderboards are first put at one spread: what differs is who stands where.

    With ``same_table``, equal ``rows`` are the same prompts, and a prompt of both groups counts once, with the
    difference of its two influences; else the prompts are independent. Student's t, with the degrees of freedom of the
    smaller group; ``p_value`` is that of "no difference". Where a group is a single prompt, NaN.
    """
    size = min(len(here), len(there))
    (standing, moved_here), (reference, moved_there) = here.standing(), there.standing()
    value = (standing - reference) * there.spread
    if size < 2:
        nothing = np.full(len(value), np.nan)
        return EloDifference(value, nothing, nothing, nothing)
    other = there.rows if same_table else -1 - there.rows  # no row in common
    rows, position = np.unique(np.concatenate((here.rows, other)), return_inverse=True)
    moved = np.zeros((len(rows), len(value)))
    np.add.at(moved, position, np.concatenate((moved_here, -moved_there)))
    error = np.sqrt((moved**2).sum(axis=0) * size / (size - 1)) * there.spread
    half = student_quantile(level, size) * error
    statistic = np.abs(value) / np.maximum(error, 1e-9)  # a billionth of a point is none
    return EloDifference(value, value - half, value + half, student_p_value(statistic, size))
