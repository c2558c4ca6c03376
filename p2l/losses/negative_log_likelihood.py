"""The negative log-likelihood of votes."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from p2l.errors import ConfigError
from p2l.options import check_number
from p2l.outcomes import OutcomeFamily, merge_ties


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """Weighted negative log-likelihood, in nats a vote: ``-weight * sum_o target_o * log P(o)``.

    A target is a distribution over the outcomes of the family: hard votes, ties as half wins and soft preferences of
    judges are one case. The training step divides the sum by the number of votes of the optimizer step.

    Attributes:
        view: "family" scores every outcome of the family; "merge_ties" scores tie and both-bad as one outcome, which
            makes the grounded Rao-Kupper objective that of rk-reparam on the same head.
        reweight_scale: multiplies the vote weights (the published ``reweight_scale``).
    """

    view: Literal["family", "merge_ties"] = "family"
    reweight_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.view not in ("family", "merge_ties"):
            raise ConfigError(f"loss.view must be 'family' or 'merge_ties'; got {self.view!r}")
        check_number("loss.reweight_scale", self.reweight_scale, above=0)

    def view_of(self, family: OutcomeFamily) -> OutcomeFamily:
        """Return the family whose ``log_probs`` and ``targets`` this objective takes."""
        if self.view == "family":
            return family
        if len(family.outcomes) < 4:
            raise ConfigError(
                f"loss.view=merge_ties joins the tie and both-bad columns, but head {family.name!r} has only the "
                f"columns {list(family.outcomes)}; use loss=nll, or head=grk"
            )
        return merge_ties(family, f"{family.name}, ties merged")

    def __call__(
        self,
        log_probs: Float[Tensor, "votes outcomes"],
        targets: Float[Tensor, "votes outcomes"],
        weight: Float[Tensor, " votes"],
    ) -> Float[Tensor, " votes"]:
        """Return the weighted loss of each vote."""
        return -(targets * log_probs).sum(-1) * weight * self.reweight_scale
