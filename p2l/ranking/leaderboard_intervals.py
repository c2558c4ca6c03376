"""Intervals of the leaderboard of a prompt, from the posterior of the head."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from p2l.arrays import to_numpy
from p2l.outcomes import OutcomeFamily
from p2l.ranking.head_posterior import HeadPosterior
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT
from p2l.statistics.all_pairs import all_pairs_quantile
from p2l.statistics.intervals import intervals, percentiles, rank_ranges
from p2l.types import Ranking

INTERVAL_COLUMNS = ("low", "high", "elo_low", "elo_high", "rank_best", "rank_worst")
COLUMNS_WITH_INTERVALS = [
    "rank",
    "rank_best",
    "rank_worst",
    "model",
    "coef",
    "low",
    "high",
    "elo",
    "elo_low",
    "elo_high",
    "win_rate",
]
_DRAWS = 4_000  # of the outputs of a pair


def interval_table(
    coefs: Float64[np.ndarray, " models"],
    covariance: Float64[np.ndarray, "models models"],
    level: float,
    *,
    samples: Float64[np.ndarray, "resamples models"] | None = None,
    quantile: float | None = None,
) -> pd.DataFrame:
    """Return ``INTERVAL_COLUMNS`` of each model.

    ``low`` and ``high`` are those of the coefficient, ``elo_low`` and ``elo_high`` of the points above the mean model:
    each holds with probability ``level``; in grounded families the two differ. ``samples`` of a bootstrap and
    ``quantile``: as in ``rank_ranges``.
    """
    low, high = intervals(coefs, covariance, samples, level)
    centre = np.eye(len(coefs)) - 1 / len(coefs)
    above = None if samples is None else samples @ centre
    elo_low, elo_high = intervals(centre @ coefs, centre @ covariance @ centre, above, level)
    best, worst = rank_ranges(coefs, covariance, samples, level, quantile)
    elo = {"elo_low": elo_low * ELO_POINTS_PER_NAT, "elo_high": elo_high * ELO_POINTS_PER_NAT}
    return pd.DataFrame({"low": low, "high": high, **elo, "rank_best": best, "rank_worst": worst})


def coef_covariance(ranking: Ranking, posterior: HeadPosterior) -> Float64[np.ndarray, "models models"]:
    """Return the covariance of the coefficients of one prompt."""
    covariance = posterior.covariance(to_numpy(ranking.states))
    return covariance[: posterior.num_models, : posterior.num_models]


def outcome_intervals(
    ranking: Ranking, family: OutcomeFamily, posterior: HeadPosterior, a: int, b: int, level: float
) -> dict[str, tuple[float, float]]:
    """Return the interval of P(outcome) of model a against model b, by outcome, from draws of the posterior.

    The draws are the same for the same posterior and prompt.
    """
    outputs = np.append(to_numpy(ranking.coefs), [] if ranking.eta is None else to_numpy(ranking.eta))
    places = [a, b, *range(posterior.num_models, len(outputs))]
    covariance = posterior.covariance(to_numpy(ranking.states))[np.ix_(places, places)]
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng(0).standard_normal((_DRAWS, len(places)))
    inputs = outputs[places] + draws * np.sqrt(values.clip(0)) @ vectors.T
    low, high = percentiles(np.exp(family.log_probs(*inputs.T)), level)
    return {name: (float(x), float(y)) for name, x, y in zip(family.outcomes, low, high, strict=True)}


def with_intervals(
    table: pd.DataFrame, models: Sequence[str], ranking: Ranking, posterior: HeadPosterior, level: float
) -> pd.DataFrame:
    """Add ``INTERVAL_COLUMNS`` to the table of one prompt; those of a group are within the group.

    ``rank_best`` and ``rank_worst`` hold for all models at once: pairs are compared with ``all_pairs_quantile``.
    """
    coefs, covariance = to_numpy(ranking.coefs), coef_covariance(ranking, posterior)
    position = {name: at for at, name in enumerate(models)}
    groups = [table] if "group" not in table else [rows for _, rows in table.groupby("group", sort=False)]
    found = []
    for rows in groups:
        at = [position[name] for name in rows["model"]]
        at_once = all_pairs_quantile(level, len(at))
        own = interval_table(coefs[at], covariance[np.ix_(at, at)], level, quantile=at_once)
        found.append(own.set_axis(rows.index))
    joined = table.join(pd.concat(found))
    return joined[[*COLUMNS_WITH_INTERVALS, *(name for name in joined if name not in COLUMNS_WITH_INTERVALS)]]
