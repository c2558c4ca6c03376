"""Compare families by their log loss on held-out votes, on questions that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from p2l.data.battle_counts import NUM_OUTCOMES, BattleCounts
from p2l.data.battle_table import BattleTable
from p2l.leaderboard.fit_leaderboard import fit_votes
from p2l.leaderboard.vote_counts import hard_counts
from p2l.options import check_count, check_seed
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking

LOSSES = ("own", "decisive", "with_ties")
Votes: TypeAlias = BattleTable | BattleCounts


def cross_validate(votes: Votes, families: Sequence[OutcomeFamily], *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Return the log loss (nats a vote) of each family on held-out votes: one row a family and fold.

    Columns: family, fold, ``own`` (the family's own outcomes, over votes with evidence: not comparable between
    families), ``decisive`` (who won, given that someone did: comparable), ``with_ties`` (a wins, b wins or no winner:
    NaN if the family has no tie). A fold whose votes carry no evidence, in training or on the held-out side, is NaN.
    Folds of a table are of equal size; of counts, each vote is drawn into one of them.

    Raises ConfigError unless there are from 2 folds to as many as votes, NeedsEachVoteError for counts of weighted or
    soft votes.
    """
    check_count("folds", folds, least=2, most=len(votes), of="the number of votes")
    check_seed(seed)
    rows = []
    for fold, (train, test) in enumerate(_folds(votes, folds, np.random.default_rng(seed))):
        for family in families:
            known = evidence(train, family) > 0
            losses = held_out_losses(family, fit_votes(train, family), test) if known else dict.fromkeys(LOSSES, np.nan)
            rows.append({"family": family.name, "fold": fold, **losses})
    return pd.DataFrame(rows)


def _folds(votes: Votes, folds: int, rng: np.random.Generator) -> Iterator[tuple[Votes, Votes]]:
    """Yield the votes to fit and the votes held out, for each fold."""
    if isinstance(votes, BattleTable):
        fold_of = rng.permutation(len(votes)) % folds
        for fold in range(folds):
            yield votes.select(np.flatnonzero(fold_of != fold)), votes.select(np.flatnonzero(fold_of == fold))
        return
    hard = hard_counts(votes, "cross-validation")
    drawn = rng.multinomial(hard.ravel(), np.full(folds, 1 / folds)).T.reshape(folds, -1, NUM_OUTCOMES)
    for held_out in drawn:
        yield _with_hard(votes, hard - held_out), _with_hard(votes, held_out)


def _with_hard(counts: BattleCounts, hard: Int64[np.ndarray, "rows 4"]) -> BattleCounts:
    weight = hard.astype(np.float64)
    return replace(
        counts, weight=weight, moments=weight[:, :, None] * np.eye(NUM_OUTCOMES), hard=hard, num_votes=int(hard.sum())
    )


def evidence(votes: Votes, family: OutcomeFamily) -> float:
    """Return the weight of the votes that count in a family."""
    shares, weight = _shares_and_weight(votes)
    return float((shares @ np.asarray(family.targets, dtype=np.float64) * weight[:, None]).sum())


def _shares_and_weight(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(votes, BattleTable):
        return votes.outcome_shares, votes.weight
    return votes.weight, np.ones(len(votes.weight))


def held_out_losses(family: OutcomeFamily, leaderboard: Ranking, votes: Votes) -> dict[str, float]:
    """Return ``own``, ``decisive`` and ``with_ties`` of one leaderboard: see ``cross_validate``."""
    eta = None if leaderboard.eta is None else leaderboard.eta.reshape(1)
    a, b = torch.from_numpy(votes.model_a), torch.from_numpy(votes.model_b)
    log_probs = battle_log_probs(family, Ranking(leaderboard.coefs[None], eta), Battle(torch.zeros_like(a), a, b))
    outcome_shares, weight = (torch.from_numpy(values).double() for values in _shares_and_weight(votes))
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
