"""A P2L model compared to the marginal fit: one leaderboard that ignores the prompt."""

from dataclasses import asdict, dataclass
from typing import Any

from p2l.data.vote_table import VoteTable
from p2l.evaluation.vote_scores import bootstrap_difference, score_votes
from p2l.outcomes import OutcomeFamily
from p2l.statistics.bootstrap import Interval
from p2l.types import Ranking


@dataclass(frozen=True)
class Comparison:
    """Log loss (nats a vote) and accuracy of a model and of the marginal fit, and their paired differences."""

    family: str
    votes: int
    prompts: int
    model: dict[str, float]
    marginal: dict[str, float]
    difference: dict[str, Interval]

    def __str__(self) -> str:
        lines = [f"{self.votes:,} votes on {self.prompts:,} prompts, {self.family}; difference with its 95 % interval"]
        for metric in self.model:
            ours, theirs = self.model[metric], self.marginal[metric]
            lines.append(f"  {metric:<9} p2l {ours:.4f}   marginal {theirs:.4f}   {self.difference[metric]}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_to_marginal(family: OutcomeFamily, rankings: Ranking, marginal: Ranking, votes: VoteTable) -> Comparison:
    """Score ``votes`` by the rankings of their prompts and by one leaderboard for all."""
    ours, theirs = score_votes(family, rankings, votes), score_votes(family, marginal, votes)
    metrics = ("log_loss", "accuracy")
    return Comparison(
        family=family.name,
        votes=len(votes),
        prompts=len(votes.prompts),
        model=ours.mean(),
        marginal=theirs.mean(),
        difference={metric: bootstrap_difference(ours, theirs, metric) for metric in metrics},
    )
