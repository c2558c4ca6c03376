"""Types that every package shares: the outcome of a vote, the ranking of a prompt, the models of a vote."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Outcome(str, Enum):
    """The outcome of one vote; the values are the published ``winner`` strings."""

    MODEL_A = "model_a"
    MODEL_B = "model_b"
    TIE = "tie"
    BOTH_BAD = "tie (bothbad)"


OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)


class Ranking(NamedTuple):
    """Rank the models for each prompt: one coefficient (in nats) per model, and the tie parameter of the family.

    ``p2l.ranking.Leaderboard`` is the same for one prompt, with the names of the models.
    """

    coefs: Float[Tensor, "*batch models"]
    eta: Float[Tensor, "*batch"] | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Ranking":
        """Apply a function to the coefficients and to eta, if there is one: ``map(lambda x: x[prompts])``."""
        return Ranking(function(self.coefs), None if self.eta is None else function(self.eta))


class Battle(NamedTuple):
    """For each vote, the two models and the ranking (prompt) of the batch that it belongs to."""

    ranking_index: Int[Tensor, " votes"]
    model_a: Int[Tensor, " votes"]
    model_b: Int[Tensor, " votes"]
