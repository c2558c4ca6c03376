"""The published category metrics: one leaderboard against another that is taken as the truth."""

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
    """A leaderboard and the true one, over the same models; ``votes`` are those that both can predict."""

    models: tuple[str, ...]
    truth: Ranking
    model: Ranking
    family: OutcomeFamily
    votes: RankedVotes | None = None

    @classmethod
    def between_rated(
        cls, models: tuple[str, ...], truth: Ranking, model: Ranking, family: OutcomeFamily, votes: RankedVotes | None
    ) -> "LeaderboardPair":
        """The models that have a coefficient (no NaN) on both sides; ``UndefinedError`` if there are not two."""
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
    """Which models a leaderboard has a coefficient for: Arena has no rating of some, a NaN here."""
    return ~leaderboard.coefs.isnan().numpy()


def leaderboards(pair: LeaderboardPair) -> dict[str, list[str]]:
    """Both sides, best first, as the published strings "name: coefficient"."""
    return {name: _lines(pair.models, side.coefs) for name, side in pair.sides.items()}


def _lines(models: tuple[str, ...], coefs: Float[Tensor, " models"]) -> list[str]:
    order = coefs.argsort(descending=True, stable=True).tolist()
    return [f"{models[i]}: {round(float(coefs[i]), 4)}" for i in order]


def aggregated(metric: Callable[[ScoredVotes], float]) -> Callable[[LeaderboardPair], dict[str, float]]:
    """A metric of the votes where one leaderboard, on either side, predicts all of them."""

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
    """The leaderboard over the models of the votes, NaN where it has none."""
    at = [all_models.index(name) for name in models]
    coefs = torch.full((len(all_models),), torch.nan, dtype=side.coefs.dtype)
    coefs[at] = side.coefs
    return Ranking(coefs, side.eta)


def l1_distance(pair: LeaderboardPair) -> float:
    """The mean of |p - q| over the pairs of models and the outcomes of the family.

    Where a side has no eta, Bradley-Terry probabilities are compared. As published, the mean of families without a
    tie also counts each model against itself, a distance of 0.
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
    """A rank correlation of the two sides, which needs coefficients that differ."""

    def correlation(pair: LeaderboardPair) -> float:
        for name, side in pair.sides.items():
            if (side.coefs == side.coefs[0]).all():
                raise UndefinedError(f"all coefficients of {name} are equal")
        return float(of(pair.truth.coefs.numpy(), pair.model.coefs.numpy())[0])

    return correlation


def of_both(statistic: Callable[[Tensor], Tensor]) -> Callable[[LeaderboardPair], dict[str, float]]:
    """A statistic of the coefficients of either side."""
    return lambda pair: {name: float(statistic(side.coefs)) for name, side in pair.sides.items()}


def top_k(
    statistic: Callable[[np.ndarray, np.ndarray, int], float],
) -> Callable[[LeaderboardPair], dict[str, float]]:
    """A statistic of the k best models, for each k of ``TOP_K`` that there are models for."""

    def each(pair: LeaderboardPair) -> dict[str, float]:
        truth, model = (side.coefs.argsort(descending=True, stable=True).numpy() for side in pair.sides.values())
        return {str(k): statistic(truth, model, k) for k in TOP_K if k <= len(pair.models)}

    return each


def _top_k_fraction(truth: np.ndarray, model: np.ndarray, k: int) -> float:
    """The share of the true k best that are among the model's k best."""
    return len(set(truth[:k]) & set(model[:k])) / k


def _top_k_displacement(truth: np.ndarray, model: np.ndarray, k: int) -> float:
    """How many places the true k best are off in the model's order, on average."""
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
