"""What a fit found: the leaderboard, how sure it is, and what a reader must know."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int64

from p2l.leaderboard.table import ELO_POINTS_PER_NAT, leaderboard_table
from p2l.outcomes import OutcomeFamily
from p2l.statistics.intervals import intervals, rank_ranges
from p2l.types import Ranking

_COLUMNS = ["rank", "rank_best", "rank_worst", "model", "coef", "low", "high", "elo", "elo_low", "elo_high"]
_COLUMNS += ["win_rate", "votes"]


@dataclass(frozen=True, eq=False)
class LeaderboardFit:
    """The maximum-likelihood leaderboard of votes, in float64, and how sure it is.

    Attributes:
        ranking: coefs (models,) in nats, and eta () where the family has one. Of shift-invariant families, the
            coefficients of each component of the comparison graph have mean 0; a model without votes has 0.
        covariance: of coefs, eta and effects, in this order (sandwich).
        samples: the same parameters fitted to each bootstrap resample, or None.
        effects: of the covariates, by name: nats for a difference of 1.
        votes: weight of the votes with evidence that each model took part in.
        component: of the comparison graph, for each model, 0 the largest; -1 for a model without votes.
        log_loss: nats a vote, on these votes.
        notes: what a reader must know: models without votes, a graph in parts, a fit that did not converge.
    """

    family: OutcomeFamily
    models: tuple[str, ...]
    ranking: Ranking
    covariance: Float64[np.ndarray, "parameters parameters"]
    samples: Float64[np.ndarray, "resamples parameters"] | None
    effects: dict[str, float]
    votes: Float64[np.ndarray, " models"]
    component: Int64[np.ndarray, " models"]
    log_loss: float
    converged: bool
    notes: tuple[str, ...]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """The models that have votes, best first, with intervals at ``level``.

        Columns: rank, rank_best and rank_worst (what the intervals of differences allow), model, coef, low and high
        (nats), elo, elo_low and elo_high (points above the mean model), win_rate (against each other model, ties half),
        votes, and component where the graph has several.
        """
        voted = np.flatnonzero(self.component >= 0)
        coefs = self.ranking.coefs.numpy()[voted]
        covariance = self.covariance[np.ix_(voted, voted)]
        samples = None if self.samples is None else self.samples[:, voted]
        low, high = intervals(coefs, covariance, samples, level)
        best, worst = rank_ranges(coefs, covariance, samples, level)
        elo_low, elo_high = _elo_intervals(coefs, covariance, samples, level)
        models = [self.models[i] for i in voted]
        more = pd.DataFrame(
            {
                "model": models,
                **{"low": low, "high": high, "elo_low": elo_low, "elo_high": elo_high},
                **{"rank_best": best, "rank_worst": worst, "votes": self.votes[voted]},
                "component": self.component[voted],
            }
        )
        ranking = Ranking(torch.from_numpy(coefs), self.ranking.eta)
        table = leaderboard_table(models, ranking, self.family).merge(more, on="model")
        return table[[*_COLUMNS, "component"] if self.component.max() > 0 else _COLUMNS]

    def effect_table(self, level: float = 0.95) -> pd.DataFrame:
        """The effects of the covariates with intervals: covariate, effect, low, high (nats)."""
        at = len(self.models) + self.family.num_eta
        effects = np.array(list(self.effects.values()), dtype=np.float64)
        samples = None if self.samples is None else self.samples[:, at:]
        low, high = intervals(effects, self.covariance[at:, at:], samples, level)
        return pd.DataFrame({"covariate": list(self.effects), "effect": effects, "low": low, "high": high})


def _elo_intervals(
    coefs: np.ndarray, covariance: np.ndarray, samples: np.ndarray | None, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the points above the mean model: those of grounded families are not those of the coefficients."""
    centre = np.eye(len(coefs)) - 1 / len(coefs)
    above = None if samples is None else samples @ centre
    low, high = intervals(centre @ coefs, centre @ covariance @ centre, above, level)
    return low * ELO_POINTS_PER_NAT, high * ELO_POINTS_PER_NAT
