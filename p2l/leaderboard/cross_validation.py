"""Compare families by their log loss on held-out votes, on questions that they share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from p2l.data.battle_table import BattleTable
from p2l.leaderboard.fit_leaderboard import fit_votes
from p2l.options import check_count, check_seed
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking


def cross_validate(
    votes: BattleTable, families: Sequence[OutcomeFamily], *, folds: int = 5, seed: int = 0
) -> pd.DataFrame:
    """Return the log loss (nats a vote) of each family on held-out votes: one row a family and fold.

    Columns: family, fold, ``own`` (the family's own outcomes, over votes with evidence: not comparable between
    families), ``decisive`` (who won, given that someone did: comparable), ``with_ties`` (a wins, b wins or no winner:
    NaN if the family has no tie).

    Raises ConfigError unless there are from 2 folds to as many as votes.
    """
    check_count("folds", folds, least=2, most=len(votes), of="the number of votes")
    check_seed(seed)
    fold_of = np.random.default_rng(seed).permutation(len(votes)) % folds
    rows = []
    for fold in range(folds):
        train, test = votes.select(np.flatnonzero(fold_of != fold)), votes.select(np.flatnonzero(fold_of == fold))
        for family in families:
            losses = held_out_losses(family, fit_votes(train, family), test)
            rows.append({"family": family.name, "fold": fold, **losses})
    return pd.DataFrame(rows)


def held_out_losses(family: OutcomeFamily, leaderboard: Ranking, votes: BattleTable) -> dict[str, float]:
    """Return ``own``, ``decisive`` and ``with_ties`` of one leaderboard: see ``cross_validate``."""
    eta = None if leaderboard.eta is None else leaderboard.eta.reshape(1)
    a, b = torch.from_numpy(votes.model_a), torch.from_numpy(votes.model_b)
    log_probs = battle_log_probs(family, Ranking(leaderboard.coefs[None], eta), Battle(torch.zeros_like(a), a, b))
    outcome_shares, weight = torch.from_numpy(votes.outcome_shares).double(), torch.from_numpy(votes.weight).double()
    own = outcome_shares @ family.target_matrix(log_probs)
    wins = log_probs[:, :2] - log_probs[:, :2].logsumexp(-1, keepdim=True)
    losses = {"own": _mean(own, log_probs, weight), "decisive": _mean(outcome_shares[:, :2], wins, weight)}
    if log_probs.shape[1] == 2:
        return losses | {"with_ties": float("nan")}
    merged = torch.cat((log_probs[:, :2], log_probs[:, 2:].logsumexp(-1, keepdim=True)), dim=1)
    no_winner = torch.cat((outcome_shares[:, :2], outcome_shares[:, 2:].sum(1, keepdim=True)), dim=1)
    return losses | {"with_ties": _mean(no_winner, merged, weight)}


def _mean(
    shares: Float[Tensor, "votes outcomes"], log_probs: Float[Tensor, "votes outcomes"], weight: Float[Tensor, " votes"]
) -> float:
    total = (shares.sum(1) * weight).sum()
    return float(-((shares * log_probs).sum(1) * weight).sum() / total)
