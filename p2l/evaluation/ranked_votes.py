"""Votes and the ranking that predicts each of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from p2l.data.battle_table import BattleTable
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking


@dataclass(frozen=True, eq=False)
class RankedVotes:
    """Votes, the ranking that predicts each, and its prompt.

    Row ``ranking_index[i]`` of ``rankings`` predicts vote i. Votes with equal ``prompt_index`` are not independent.
    """

    battles: BattleTable
    rankings: Ranking
    ranking_index: Int64[np.ndarray, " votes"]
    prompt_index: Int64[np.ndarray, " votes"]

    def __len__(self) -> int:
        return len(self.battles)

    @property
    def models(self) -> tuple[str, ...]:
        return self.battles.models

    def counts(self) -> Float[Tensor, " rankings"]:
        """Return the number of votes that each ranking predicts."""
        counts = np.bincount(self.ranking_index, minlength=len(self.rankings.coefs))
        return torch.from_numpy(counts).double()

    def select(self, rows: Int64[np.ndarray, " selected"]) -> "RankedVotes":
        """Return the votes at these positions, with the rankings and prompts that they use."""
        used, ranking_index = np.unique(self.ranking_index[rows], return_inverse=True)
        _, prompt_index = np.unique(self.prompt_index[rows], return_inverse=True)
        return RankedVotes(
            self.battles.select(rows),
            self.rankings.map(lambda x: x[torch.from_numpy(used)]),
            ranking_index.astype(np.int64),
            prompt_index.astype(np.int64),
        )

    def between_models(self, known: Bool[np.ndarray, " models"]) -> "RankedVotes":
        """Return the votes between two of the ``known`` models."""
        rows = np.flatnonzero(known[self.battles.model_a] & known[self.battles.model_b])
        return self.select(rows)

    def predicted_by(self, leaderboard: Ranking) -> "RankedVotes":
        """Return the same votes, all predicted by one leaderboard."""
        one = Ranking(leaderboard.coefs[None], None if leaderboard.eta is None else leaderboard.eta.reshape(1))
        return replace(self, rankings=one, ranking_index=np.zeros(len(self), dtype=np.int64))

    def log_probs(self, family: OutcomeFamily) -> Float[Tensor, "votes outcomes"]:
        """Return the log-probability of every outcome of each vote."""
        index = (self.ranking_index, self.battles.model_a, self.battles.model_b)
        return battle_log_probs(family, self.rankings, Battle(*map(torch.from_numpy, index)))

    def targets(self, family: OutcomeFamily) -> Float[Tensor, "votes outcomes"]:
        """Return the share of each outcome in each vote."""
        outcome_shares = torch.from_numpy(self.battles.outcome_shares).double()
        return outcome_shares @ family.target_matrix(outcome_shares)
