"""Feedback on answers, and what it tells about the outputs of a head."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64

from p2l.errors import ConfigError, DataError
from p2l.options import check_number
from p2l.outcomes import OutcomeFamily
from p2l.uncertainty.curvature import vote_information

Chosen = slice | Int64[np.ndarray, " some"]


@dataclass(frozen=True, eq=False)
class Feedback:
    """Votes on pairs of answers, and scores of single ones, in the order in which they came.

    Attributes:
        features: of the prompts, by ``OnlineHead.features``.
        outputs: coefficients and eta of the trained head.
        model: the first LLM, or the one that is scored.
        other: the second LLM; -1 for a score.
        shares: of the four outcomes of a vote, in the order of ``p2l.types.OUTCOMES``; zeros for a score.
        score: from 0 to 1; NaN for a vote.
        weight: of the evidence, 1 for one vote.
        keys: who gave it.
    """

    features: Float64[np.ndarray, "feedback features"]
    outputs: Float64[np.ndarray, "feedback outputs"]
    model: Int64[np.ndarray, " feedback"]
    other: Int64[np.ndarray, " feedback"]
    shares: Float64[np.ndarray, "feedback 4"]
    score: Float64[np.ndarray, " feedback"]
    weight: Float64[np.ndarray, " feedback"]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = ~np.isnan(self.score) & ~((self.score >= 0) & (self.score <= 1))
        if wrong.any():
            raise DataError(f"scores from 0 to 1 are needed; got {self.score[wrong][0]}")
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise DataError("finite weights of 0 or more are needed")
        if (np.isnan(self.score) & (self.model == self.other)).any():
            raise DataError("a vote needs two models; one has a model against itself")

    def __len__(self) -> int:
        return len(self.model)

    def rows(self, at: Chosen) -> "Feedback":
        """Return some of the feedback."""
        parts = {each.name: getattr(self, each.name)[at] for each in fields(self) if each.name != "keys"}
        return Feedback(**parts, keys=tuple(np.array(self.keys, dtype=object)[at]))

    @classmethod
    def joined(cls, parts: Sequence["Feedback"]) -> "Feedback":
        """Return the feedback of all parts, one after the other."""
        arrays = {each.name: np.concatenate([getattr(one, each.name) for one in parts]) for each in fields(cls)[:-1]}
        return cls(**arrays, keys=tuple(key for one in parts for key in one.keys))

    @classmethod
    def of_votes(
        cls,
        features: Float64[np.ndarray, "feedback features"],
        outputs: Float64[np.ndarray, "feedback outputs"],
        models: tuple[Int64[np.ndarray, " feedback"], Int64[np.ndarray, " feedback"]],
        shares: Float64[np.ndarray, "feedback 4"],
        keys: Sequence[str],
    ) -> "Feedback":
        """Return votes of weight 1."""
        ones = np.ones(len(features))
        return cls(features, outputs, *models, shares, np.nan * ones, ones, tuple(keys))

    @classmethod
    def of_scores(
        cls,
        features: Float64[np.ndarray, "feedback features"],
        outputs: Float64[np.ndarray, "feedback outputs"],
        model: Int64[np.ndarray, " feedback"],
        score: Float64[np.ndarray, " feedback"],
        keys: Sequence[str],
    ) -> "Feedback":
        """Return scores of weight 1."""
        count = len(features)
        return cls(
            features, outputs, model, np.full(count, -1), np.zeros((count, 4)), score, np.ones(count), tuple(keys)
        )


class Evidence(NamedTuple):
    """What each piece of feedback tells about the outputs in ``places``: a gradient and Fisher information."""

    places: Int64[np.ndarray, "feedback parameters"]
    gradient: Float64[np.ndarray, "feedback parameters"]
    information: Float64[np.ndarray, "feedback parameters parameters"]


@dataclass(frozen=True)
class FeedbackLikelihood:
    """The likelihood of feedback.

    A vote has that of the family. A score s of one answer compares it with nothing, so that it tells about one
    coefficient c alone: its mean is sigmoid(c), a grounded family's probability that the answer is usable, and its
    quasi-likelihood s log sigmoid(c) + (1 - s) log sigmoid(-c), divided by ``dispersion`` (Papke and Wooldridge 1996).
    Families that only compare models have no such level, and refuse scores.

    Attributes:
        family: of the head.
        dispersion: variance of a score over mean (1 - mean); 1: a score is worth a yes or no.
    """

    family: OutcomeFamily
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        check_number("dispersion", self.dispersion, above=0)

    def log_loss(
        self, feedback: Feedback, outputs: Float64[np.ndarray, "feedback outputs"]
    ) -> Float64[np.ndarray, " feedback"]:
        """Return minus each log-likelihood times its weight, in nats; that of a score is without ``dispersion``."""
        rows, is_score = np.arange(len(feedback)), ~np.isnan(feedback.score)
        coef, share = outputs[rows, feedback.model], np.nan_to_num(feedback.score)
        of_score = share * np.logaddexp(0, -coef) + (1 - share) * np.logaddexp(0, coef)
        eta = (outputs[:, -1],) if self.family.num_eta else ()
        log_probs = self.family.log_probs(coef, outputs[rows, feedback.other], *eta)
        of_vote = -(feedback.shares @ np.array(self.family.targets) * log_probs).sum(1)
        return np.where(is_score, of_score, of_vote) * feedback.weight

    def evidence(self, feedback: Feedback, outputs: Float64[np.ndarray, "feedback outputs"]) -> Evidence:
        """Return what the feedback tells if these are the outputs of its prompts."""
        is_score, num_models = ~np.isnan(feedback.score), outputs.shape[1] - self.family.num_eta
        if is_score.any() and self.family.shift_invariant:
            raise ConfigError(
                f"scores of single answers need a grounded family (grk, rk_reparam, ba); {self.family.name!r} only "
                "compares models: give votes, or train with head=grk"
            )
        other = np.where(is_score, feedback.model, feedback.other)
        places = np.column_stack((feedback.model, other))
        places = np.pad(places, ((0, 0), (0, self.family.num_eta)), constant_values=num_models)
        gradient, information = np.zeros(places.shape), np.zeros((*places.shape, places.shape[1]))
        rows = np.arange(len(feedback))
        if (votes := rows[~is_score]).size:
            inputs = torch.from_numpy(outputs[votes[:, None], places[votes]])
            shares = torch.from_numpy(feedback.shares[votes])
            targets = shares @ self.family.target_matrix(shares) * torch.from_numpy(feedback.weight[votes])[:, None]
            gradient[votes], information[votes] = vote_information(self.family, inputs, targets)
        mean = 1 / (1 + np.exp(-outputs[rows, feedback.model]))
        weight = np.where(is_score, feedback.weight, 0) / self.dispersion
        gradient[:, 0] += weight * (np.nan_to_num(feedback.score) - mean)
        information[:, 0, 0] += weight * mean * (1 - mean)
        return Evidence(places, gradient, information)
