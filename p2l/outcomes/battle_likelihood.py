"""Evaluate a likelihood family at the two models of each vote."""

from jaxtyping import Float
from torch import Tensor

from p2l.outcomes.family import OutcomeFamily
from p2l.types import Battle, Ranking


def battle_log_probs(family: OutcomeFamily, ranking: Ranking, battle: Battle) -> Float[Tensor, "votes outcomes"]:
    """Return the log-probability of every outcome of each battle, under the ranking of its prompt."""
    at = battle.ranking_index
    eta = None if ranking.eta is None else ranking.eta[at]
    return family.log_probs(ranking.coefs[at, battle.model_a], ranking.coefs[at, battle.model_b], eta)
