"""The published category metrics: a leaderboard compared to the one taken as the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import kendalltau, spearmanr
from torch import Tensor

from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import VOTE_METRICS, ScoredVotes, UndefinedError, iqr, spread, std
from p2l.outcomes import BT, OutcomeFamily
from p2l.types import Ranking

TRUTH, MODEL = "ground-truth", "model-aggr"  # the published names of the two sides
TOP_K = (1, 3, 5, 10)


@dataclass(frozen=True, eq=False)
class LeaderboardPair:
    """A leaderboard and the true one over the same models; ``votes`` are those that both can predict."""

    models: tuple[str, ...]
    truth: Ranking
    model: Ranking
    family: OutcomeFamily
    votes: RankedVotes | None = None

    @classmethod
    def between_rated(
        cls, models: tuple[str, ...], truth: Ranking, model: Ranking, family: OutcomeFamily, votes: RankedVotes | None
    ) -> "LeaderboardPair":
        """Return the pair over the models with a coefficient (not NaN) on both sides.

        Raises ``UndefinedError`` if there are fewer than two.
        """
        rated = rated_models(truth) & rated_models(model)
        if rated.sum() < 2:
            raise UndefinedError(f"{int(rated.sum())} models are on both leaderboards; two are needed")
        names = tuple(name for name, is_rated in zip(models, rated, strict=True) if is_rated)
        if votes is not None and not rated.all():
            votes = votes.between_models(rated)
        truth, model = (Ranking(side.coefs[rated].double(), side.eta) for side in (truth, model))
        return cls(names, truth, model, family, votes)

    @property
    def sides(self) -> dict[str, Ranking]:
        return {TRUTH: self.truth, MODEL: self.model}


def rated_models(leaderboard: Ranking) -> Bool[np.ndarray, " models"]:
    """Return which models have a coefficient; a model without an Arena rating has NaN."""
    return ~leaderboard.coefs.isnan().numpy()


def leaderboards(pair: LeaderboardPair) -> dict[str, list[str]]:
    """Return both sides, best first, as the published strings "name: coefficient"."""
    return {name: _lines(pair.models, side.coefs) for name, side in pair.sides.items()}


def _lines(models: tuple[str, ...], coefs: Float[Tensor, " models"]) -> list[str]:
    order = coefs.argsort(descending=True, stable=True).tolist()
    return [f"{models[i]}: {round(float(coefs[i]), 4)}" for i in order]


def aggregated(metric: Callable[[ScoredVotes], float]) -> Callable[[LeaderboardPair], dict[str, float]]:
    """Return a metric of the votes when one leaderboard predicts them all, for either side."""

    def both(pair: LeaderboardPair) -> dict[str, float]:
        if pair.votes is None or not len(pair.votes):
            raise UndefinedError("no vote is between two models of both leaderboards")
        all_models = pair.votes.models
        spread_out = {name: _spread_out(side, pair.models, all_models) for name, side in pair.sides.items()}
        return {
            name: metric(ScoredVotes(pair.votes.predicted_by(side), pair.family)) for name, side in spread_out.items()
        }

    return both


def _spread_out(side: Ranking, models: tuple[str, ...], all_models: tuple[str, ...]) -> Ranking:
    """Return the leaderboard over ``all_models``, with NaN for the missing ones."""
    at = [all_models.index(name) for name in models]
    coefs = torch.full((len(all_models),), torch.nan, dtype=side.coefs.dtype)
    coefs[at] = side.coefs
    return Ranking(coefs, side.eta)


def l1_distance(pair: LeaderboardPair) -> float:
    """Return the mean of |p - q| over the pairs of models and the outcomes of the family.

    If a side has no eta, Bradley-Terry probabilities are compared. As published, the mean of families without a tie
    also counts each model against itself, a distance of 0.
    """
    etas = [side.eta for side in pair.sides.values()]
    family = BT if any(eta is None for eta in etas) else pair.family
    distance = (_pair_probs(pair.truth, family) - _pair_probs(pair.model, family)).abs().mean()
    num_models = len(pair.models)
    return float(distance) * (1 if family.num_eta else (num_models - 1) / num_models)


def _pair_probs(side: Ranking, family: OutcomeFamily) -> Float[Tensor, "pairs outcomes"]:
    a, b = torch.triu_indices(len(side.coefs), len(side.coefs), offset=1)
    eta = side.eta.double() if family.num_eta and side.eta is not None else None
    return family.log_probs(side.coefs[a], side.coefs[b], eta).exp()


def rank_correlation(of: Callable[..., Any]) -> Callable[[LeaderboardPair], float]:
    """Return a metric: the rank correlation of the two sides; undefined if all coefficients of a side are equal."""

    def correlation(pair: LeaderboardPair) -> float:
        for name, side in pair.sides.items():
            if (side.coefs == side.coefs[0]).all():
                raise UndefinedError(f"all coefficients of {name} are equal")
        return float(of(pair.truth.coefs.numpy(), pair.model.coefs.numpy())[0])

    return correlation


def of_both(statistic: Callable[[Tensor], Tensor]) -> Callable[[LeaderboardPair], dict[str, float]]:
    """Return a metric: the statistic of the coefficients of either side."""
    return lambda pair: {name: float(statistic(side.coefs)) for name, side in pair.sides.items()}


def top_k(
    statistic: Callable[[np.ndarray, np.ndarray, int], float],
) -> Callable[[LeaderboardPair], dict[str, float]]:
    """Return a metric: the statistic of the k best models, for each k of ``TOP_K`` up to the number of models."""

    def each(pair: LeaderboardPair) -> dict[str, float]:
        truth, model = (side.coefs.argsort(descending=True, stable=True).numpy() for side in pair.sides.values())
        return {str(k): statistic(truth, model, k) for k in TOP_K if k <= len(pair.models)}

    return each


def _top_k_fraction(truth: np.ndarray, model: np.ndarray, k: int) -> float:
    """Return the share of the true k best that are among the model's k best."""
    return len(set(truth[:k]) & set(model[:k])) / k


def _top_k_displacement(truth: np.ndarray, model: np.ndarray, k: int) -> float:
    """Return the mean displacement, in places, of the true k best in the model's order."""
    place = np.argsort(model)
    return float(np.abs(place[truth[:k]] - np.arange(k)).mean())


COMPARISONS: dict[str, Callable[[LeaderboardPair], Any]] = {
    "L1-Dist-Prob": l1_distance,
    "Spearman-lbs": rank_correlation(spearmanr),
    "Kendall-lbs": rank_correlation(kendalltau),
    "IQR-BT": of_both(iqr),
    "Std-BT": of_both(std),
    "Spread-BT": of_both(spread),
    "Top-k-fraction": top_k(_top_k_fraction),
    "Top-k-displace": top_k(_top_k_displacement),
}
CATEGORY_METRICS: dict[str, Callable[[LeaderboardPair], Any]] = {
    "Leaderboard": leaderboards,
    **{f"Aggr_{name}": aggregated(metric) for name, metric in VOTE_METRICS.items()},
    **COMPARISONS,
}
