"""Types that every package shares: the outcome of a vote, the ranking of a prompt, the models of a vote."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxtyping import Bool, Float, Int

from p2l.arrays import Array, namespace, to_numpy
from p2l.winner import OUTCOMES, Outcome

__all__ = ["OUTCOMES", "Backend", "Battle", "Outcome", "Ranking"]

# What computes the hidden states of prompts. ``p2l.models.Predictor`` explains them.
Backend = Literal["torch", "openvino", "openvino-int8"]


class Ranking(NamedTuple):
    """Rank the models for each prompt: one coefficient (in nats) per model, and the tie parameter of the family.

    Models and fits give tensors of torch. Routing works on arrays of numpy, and takes either.
    ``p2l.ranking.Leaderboard`` is the same for one prompt, with the names of the models.

    ``costs``: expected cost of each model's answer, in the unit of the checkpoint; NaN for a model without a
    prediction. None: the checkpoint predicts no costs.
    ``states``: where each prompt lies among those of the votes, for ``p2l.head_posterior``. None: the checkpoint has no
    posterior.
    """

    coefs: Float[Array, "*batch models"]
    eta: Float[Array, "*batch"] | None
    costs: Float[Array, "*batch models"] | None = None
    states: Float[Array, "*batch hidden"] | None = None

    def map(self, function: Callable[[Array], Array]) -> "Ranking":
        """Apply a function to each part that there is: ``map(lambda x: x[prompts])``."""
        return Ranking(*(None if part is None else function(part) for part in self))

    def numpy(self) -> "Ranking":
        """Return it as arrays of numpy, in float64."""
        return self.map(to_numpy)

    def is_finite(self) -> Bool[Array, "*batch"]:
        """Return, for each prompt, whether its coefficients and eta are numbers, neither NaN nor infinite."""
        xp = namespace(self.coefs)
        fine = xp.isfinite(self.coefs).all(-1)
        return fine if self.eta is None else fine & xp.isfinite(self.eta)


class Battle(NamedTuple):
    """For each vote, the two models and the ranking (prompt) of the batch that it belongs to."""

    ranking_index: Int[Array, " votes"]
    model_a: Int[Array, " votes"]
    model_b: Int[Array, " votes"]
