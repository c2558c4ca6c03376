"""The nouns shared by every package: how a vote can end, and what the model says about a prompt."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Outcome(str, Enum):
    """How one vote ended; the values are the published ``winner`` strings."""

    MODEL_A = "model_a"
    MODEL_B = "model_b"
    TIE = "tie"
    BOTH_BAD = "tie (bothbad)"


OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)


class Ranking(NamedTuple):
    """A leaderboard for each prompt: one coefficient (in nats) per model, and the tie parameter of the family."""

    coefs: Float[Tensor, "*batch models"]
    eta: Float[Tensor, "*batch"] | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Ranking":
        """The same function of the coefficients and, where there is one, of eta: ``map(lambda x: x[prompts])``."""
        return Ranking(function(self.coefs), None if self.eta is None else function(self.eta))


class Battle(NamedTuple):
    """Which two models met, for each vote, and which ranking (prompt) of the batch they met on."""

    ranking_index: Int[Tensor, " votes"]
    model_a: Int[Tensor, " votes"]
    model_b: Int[Tensor, " votes"]
