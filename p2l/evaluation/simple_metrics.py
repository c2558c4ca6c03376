"""The published simple metrics: how well rankings predict votes, and how their coefficients spread.

Each metric is written once for all families, in terms of log-probabilities and targets. A mean over votes is weighted
by ``weight`` (published code has no weights) and by the evidence of a vote in the family: ties carry none under "bt".

Published code differs in two ways. It clamps the probability of the observed outcome at 1e-3 ("rk") or 1e-6 ("grk",
"rk-reparam") in Loss and Tie_Loss, so a vote costs at most 6.9 or 13.8 nats; here there is no limit. With votes drawn
at strengths of standard deviation 3, the clamp lowers the mean loss by 0.002 nats under "rk", not under "grk". It also
adds 1e-6 to theta, which changes the log-probability of a tie by about 1e-6 e^-eta and any other by less than 1e-6.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from p2l.errors import ConfigError, P2LError
from p2l.evaluation import scoring_rules
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.outcomes import BT, OutcomeFamily
from p2l.outcomes.family import BOTH_BAD, TIE

_BLOCK = 1 << 16  # rankings in a block: bounds the memory of quantiles

Measured = TypeVar("Measured")


class UndefinedError(P2LError):
    """A metric has no value in this family or on these votes; the message gives the reason."""


def measure(
    metrics: Mapping[str, Callable[[Measured], Any]], names: Sequence[str], measured: Measured
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the named metrics of ``measured`` by name, and why the others have no value."""
    check_names(names, metrics)
    values: dict[str, Any] = {}
    omitted: dict[str, str] = {}
    for name in names:
        try:
            values[name] = metrics[name](measured)
        except UndefinedError as reason:
            omitted[name] = str(reason)
    return values, omitted


def check_names(names: Sequence[str], known: Mapping[str, object] | Sequence[str]) -> None:
    """Raise ``ConfigError`` if a metric is unknown."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"unknown metric {', '.join(unknown)}; known here: {', '.join(known)}")


@dataclass(frozen=True, eq=False)
class ScoredVotes:
    """Votes, their rankings, and the family whose probabilities are scored."""

    votes: RankedVotes
    family: OutcomeFamily

    @cached_property
    def log_probs(self) -> Float[Tensor, "votes outcomes"]:
        if self.family.num_eta and self.votes.rankings.eta is None:
            raise UndefinedError(f"the rankings have no eta, which family {self.family.name} needs for probabilities")
        return self.votes.log_probs(self.family)

    @cached_property
    def targets(self) -> Float[Tensor, "votes outcomes"]:
        return self.votes.targets(self.family)

    @cached_property
    def weight(self) -> Float[Tensor, " votes"]:
        return torch.from_numpy(self.votes.battles.weight).double()

    def share(self, event: "Event") -> Float[Tensor, " votes"]:
        """Return the share of each vote that is the event."""
        return torch.from_numpy(self.votes.battles.outcome_shares[:, event.positions].sum(axis=1)).double()


@dataclass(frozen=True)
class Event:
    """A set of outcomes: columns of a family by name, and columns of ``outcome_shares`` by position."""

    name: str
    outcomes: tuple[str, ...]
    positions: list[int]


TIES = Event("a tie", (TIE, BOTH_BAD), [2, 3])
BOTH_BADS = Event("a tie of bad answers", (BOTH_BAD,), [3])


def mean_score(scored: ScoredVotes, score: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return the mean of a score over the evidence in the votes; a soft vote counts by its share of evidence."""
    evidence = scored.targets.sum(-1)
    targets = scored.targets / torch.where(evidence > 0, evidence, torch.ones_like(evidence))[:, None]
    if not (scored.weight * evidence).sum() > 0:
        raise UndefinedError(f"no vote carries evidence under {scored.family.name}")
    return _mean(score(scored.log_probs.double(), targets), scored.weight * evidence)


def bce_loss(scored: ScoredVotes) -> float:
    """Return the log loss of decisive votes under Bradley-Terry on the coefficients alone, whatever the family."""
    decisive = ScoredVotes(scored.votes, BT)
    if not decisive.targets.sum() > 0:
        raise UndefinedError("no vote is decisive")
    return mean_score(decisive, scoring_rules.log_loss)


def event_score(event: Event, score: Callable[[Tensor, Tensor], Tensor]) -> Callable[[ScoredVotes], float]:
    """Return a metric: the mean score, over all votes, of predicting whether a vote is the event."""

    def mean(scored: ScoredVotes) -> float:
        columns = [i for i, name in enumerate(scored.family.outcomes) if name in event.outcomes]
        if not columns:
            raise UndefinedError(f"family {scored.family.name} has no outcome that is {event.name}")
        share = scored.share(event)
        for side, name in ((share, f"no vote is {event.name}"), (1 - share, f"every vote is {event.name}")):
            if not (side * scored.weight).sum() > 0:
                raise UndefinedError(name)
        log_probs = scored.log_probs.double()
        others = [i for i in range(log_probs.shape[1]) if i not in columns]
        sides = scoring_rules.two_sided(log_probs[:, columns].logsumexp(-1), log_probs[:, others].logsumexp(-1))
        return _mean(score(sides, torch.stack((share, 1 - share), dim=-1)), scored.weight)

    return mean


def _mean(values: Tensor, weight: Tensor) -> float:
    return float((values * weight).sum() / weight.sum())


def _blocks(scored: ScoredVotes) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield coefficients of rated models in float64, and the number of votes that each ranking predicts."""
    coefs, counts = scored.votes.rankings.coefs, scored.votes.counts()
    rated = ~coefs[:1].isnan().all(0)
    for rows in range(0, len(coefs), _BLOCK):
        yield coefs[rows : rows + _BLOCK, rated].double(), counts[rows : rows + _BLOCK]


def mean_of_rankings(statistic: Callable[[Tensor], Tensor]) -> Callable[[ScoredVotes], float]:
    """Return a metric: the mean over votes of a statistic of the coefficients of a ranking."""

    def mean(scored: ScoredVotes) -> float:
        parts = [(statistic(coefs), counts) for coefs, counts in _blocks(scored)]
        return _mean(torch.cat([part for part, _ in parts]), torch.cat([counts for _, counts in parts]))

    return mean


def iqr(coefs: Float[Tensor, "*rankings models"]) -> Float[Tensor, "*rankings"]:
    """Return the distance between the quartiles (linear interpolation)."""
    return coefs.quantile(0.75, dim=-1) - coefs.quantile(0.25, dim=-1)


def std(coefs: Float[Tensor, "*rankings models"]) -> Float[Tensor, "*rankings"]:
    """Return the standard deviation over models, unbiased."""
    if coefs.shape[-1] < 2:
        raise UndefinedError("a standard deviation needs two models; there is one")
    return coefs.std(dim=-1)


def spread(coefs: Float[Tensor, "*rankings models"]) -> Float[Tensor, "*rankings"]:
    """Return best minus worst."""
    return coefs.amax(-1) - coefs.amin(-1)


mean_coef = mean_of_rankings(lambda coefs: coefs.mean(-1))


def std_of_all(scored: ScoredVotes) -> float:
    """Return the unbiased standard deviation of the coefficients of all votes' rankings, pooled."""
    centre, squares, number = mean_coef(scored), 0.0, 0.0
    for coefs, counts in _blocks(scored):
        squares += float((counts[:, None] * (coefs - centre).square()).sum())
        number += float(counts.sum()) * coefs.shape[1]
    if number < 2:
        raise UndefinedError("a standard deviation needs two coefficients; there is one")
    return float((squares / (number - 1)) ** 0.5)


def spread_of_all(scored: ScoredVotes) -> float:
    """Return the largest coefficient of any ranking minus the smallest of any."""
    return max(float(c.max()) for c, _ in _blocks(scored)) - min(float(c.min()) for c, _ in _blocks(scored))


VOTE_METRICS: dict[str, Callable[[ScoredVotes], float]] = {
    "Loss": lambda scored: mean_score(scored, scoring_rules.log_loss),
    "BCELoss": bce_loss,
    "MSELoss": lambda scored: mean_score(scored, scoring_rules.squared_error),
    "Accuracy": lambda scored: mean_score(scored, scoring_rules.accuracy),
    "Tie_Loss": event_score(TIES, scoring_rules.log_loss),
    "Tie_Accuracy": event_score(TIES, scoring_rules.accuracy),
    "Tie_bb_Loss": event_score(BOTH_BADS, scoring_rules.log_loss),
    "Tie_bb_Accuracy": event_score(BOTH_BADS, scoring_rules.accuracy),
}
SIMPLE_METRICS: dict[str, Callable[[ScoredVotes], float]] = {
    **VOTE_METRICS,
    "Mean-BT": mean_coef,
    "Std-BT": std_of_all,
    "Spread-BT": spread_of_all,
    "Mean-Spread-BT": mean_of_rankings(spread),
    "Mean-IQR-BT": mean_of_rankings(iqr),
    "Mean-Std-BT": mean_of_rankings(std),
}
