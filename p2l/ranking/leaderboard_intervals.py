"""Intervals of the leaderboard of a prompt, from the posterior of the head."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri

from p2l.arrays import to_numpy
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT, Groups, ModelMask, members_of
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
_POINTS = 1_000  # of the outputs of a pair
_LARGEST_FOR_ODDS = 100.0  # nats; e^300, a product of three, is well inside float64


def interval_table(
    coefs: Float64[np.ndarray, " models"],
    covariance: Float64[np.ndarray, "models models"],
    level: float,
    *,
    samples: Float64[np.ndarray, "resamples models"] | None = None,
    quantile: float | None = None,
    reference: ModelMask | None = None,
) -> pd.DataFrame:
    """Return ``INTERVAL_COLUMNS`` of each model.

    ``low`` and ``high`` are those of the coefficient, ``elo_low`` and ``elo_high`` of the points above the mean model:
    each holds with probability ``level``; in grounded families the two differ. ``samples`` of a bootstrap and
    ``quantile``: as in ``rank_ranges``. ``reference`` marks the models of the mean; None for all.
    """
    low, high = intervals(coefs, covariance, samples, level)
    marked = np.ones(len(coefs), dtype=bool) if reference is None else reference
    centre = np.eye(len(coefs)) - marked / marked.sum()
    above = None if samples is None else samples @ centre.T
    elo_low, elo_high = intervals(centre @ coefs, centre @ covariance @ centre.T, above, level)
    best, worst = rank_ranges(coefs, covariance, samples, level, quantile)
    elo = {"elo_low": elo_low * ELO_POINTS_PER_NAT, "elo_high": elo_high * ELO_POINTS_PER_NAT}
    return pd.DataFrame({"low": low, "high": high, **elo, "rank_best": best, "rank_worst": worst})


def coef_covariance(ranking: Ranking, posterior: HeadPosterior) -> Float64[np.ndarray, "*prompts models models"]:
    """Return the covariance of the coefficients of each prompt."""
    covariance = posterior.covariance(to_numpy(ranking.states))
    return covariance[..., : posterior.num_models, : posterior.num_models]


def coef_intervals(
    coefs: Float64[np.ndarray, "*prompts models"],
    covariance: Float64[np.ndarray, "*prompts models models"],
    level: float,
    comparable: Bool[np.ndarray, "models models"] | None = None,
) -> dict[str, np.ndarray]:
    """Return low, high, rank_best and rank_worst of each model on each prompt, by name.

    The ranges of ranks hold for all models of a prompt at once; see ``rank_ranges`` for ``comparable``.
    """
    low, high = intervals(coefs, covariance, None, level)
    at_once = all_pairs_quantile(level, coefs.shape[-1])
    best, worst = rank_ranges(coefs, covariance, None, level, at_once, comparable)
    return {"low": low, "high": high, "rank_best": best, "rank_worst": worst}


def outcome_intervals(
    ranking: Ranking, family: OutcomeFamily, posterior: HeadPosterior, a: int, b: int, level: float
) -> dict[str, tuple[float, float]]:
    """Return the interval of P(outcome) of model a against model b, by outcome, from the posterior of one prompt."""
    pairs = np.array([[a, b]])
    covariance = posterior.covariance(to_numpy(ranking.states))
    low, high = pair_intervals(outputs_of(ranking), covariance, family, pairs, level)[:, 0]
    return {name: (float(x), float(y)) for name, x, y in zip(family.outcomes, low, high, strict=True)}


def outputs_of(ranking: Ranking) -> Float64[np.ndarray, " outputs"]:
    """Return the outputs of the head for one prompt: coefficients, then eta if the family has one."""
    return np.append(to_numpy(ranking.coefs), [] if ranking.eta is None else to_numpy(ranking.eta))


def pair_intervals(
    outputs: Float64[np.ndarray, " outputs"],
    covariance: Float64[np.ndarray, "outputs outputs"],
    family: OutcomeFamily,
    pairs: Int64[np.ndarray, "pairs 2"],
    level: float,
    num_outcomes: int | None = None,
) -> Float64[np.ndarray, "2 pairs outcomes"]:
    """Return the ends of the intervals of P(outcome) of each pair of models on one prompt, at a ``level`` up to 0.99.

    They are quantiles over ``_POINTS`` of the posterior that lie evenly in it, the same for each pair: the error of an
    end is that of four times as many random draws. ``num_outcomes``: leave out the later outcomes.
    """
    eta = np.arange(len(outputs) - family.num_eta, len(outputs))
    places = np.concatenate((pairs, np.broadcast_to(eta, (len(pairs), len(eta)))), axis=1)
    values, vectors = np.linalg.eigh(covariance[places[:, :, None], places[:, None, :]])
    roots = vectors * np.sqrt(values.clip(0))[:, None, :]
    inputs = outputs[places][..., None] + roots @ _normal_points(places.shape[1])
    probs = _probabilities(family, inputs.swapaxes(0, 1))[:num_outcomes]
    return np.stack([percentiles(one.T, level) for one in probs], axis=-1)


def _probabilities(
    family: OutcomeFamily, inputs: Float64[np.ndarray, "parameters pairs points"]
) -> Sequence[Float64[np.ndarray, "pairs points"]]:
    """Return P(outcome) by outcome; from the odds, which is several times faster, unless they overflow."""
    if np.abs(inputs).max() > _LARGEST_FOR_ODDS:
        return list(np.moveaxis(np.exp(family.log_probs(*inputs)), -1, 0))
    a, b, *eta = inputs
    return family.probs_from_odds(np.exp(a), np.exp(b), *eta)


@cache
def _normal_points(dimensions: int) -> Float64[np.ndarray, "dimensions points"]:
    """Return points that lie evenly under the standard normal density: Kronecker's sequence of the golden ratio.

    Source: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences" (the sequence R_d).
    """
    ratio = 2.0  # solves x^(d + 1) = x + 1
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1)
    return ndtri((0.5 + steps[:, None] * np.arange(1, _POINTS + 1)) % 1)


def change_intervals(
    models: Sequence[str],
    rankings: tuple[Ranking, Ranking],
    posterior: HeadPosterior,
    level: float,
    groups: Groups | None = None,
) -> pd.DataFrame:
    """Return model, change_low and change_high: how the Elo points change from the first prompt to the second.

    Those of a group are within the group.
    """
    first, second = rankings
    change = to_numpy(second.coefs) - to_numpy(first.coefs)
    covariance = posterior.change_covariance(to_numpy(first.states), to_numpy(second.states))
    found = []
    for names in members_of(models, groups or {}).values():
        at = [list(models).index(name) for name in names]
        ends = interval_table(change[at], covariance[np.ix_(at, at)], level)
        found.append(pd.DataFrame({"model": names, "change_low": ends["elo_low"], "change_high": ends["elo_high"]}))
    return pd.concat(found, ignore_index=True)


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
