"""A likelihood family: the outcomes that a vote can have, and their probabilities under two coefficients."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float

from p2l.arrays import Array, log_sum_exp, namespace, narrow, widen

# of (coefs_a, coefs_b), and of eta where num_eta is 1
LogProbs = Callable[..., Array]
# of (e^coefs_a, e^coefs_b), and of eta: one array for each outcome
ProbsFromOdds = Callable[..., tuple[Array, ...]]
Targets = tuple[tuple[float, ...], ...]

A_WINS, B_WINS, TIE, BOTH_BAD = "a wins", "b wins", "tie", "both bad"


@dataclass(frozen=True)
class OutcomeFamily:
    """One likelihood P(outcome | coefs of a, coefs of b, eta), from which losses, metrics and fits follow.

    Attributes:
        name: the published name, also the one configs and checkpoints use.
        outcomes: names of the columns of ``log_probs``; a wins first, b wins second.
        num_eta: number of extra scalars that the head emits for a prompt: 0 or 1.
        targets: for each of the four outcomes of a vote (``p2l.types.OUTCOMES`` order) its share of every column.
            A row of zeros means that such a vote carries no evidence in this family.
        formula: the log-probabilities; call them through ``log_probs``.
        formula_from_odds: the same probabilities without logarithms, for means over many prompts; None derives them
            from ``formula``, which is slower.
        shift_invariant: whether adding a constant to all coefficients leaves every probability as it was.
        least_eta: a smaller eta gives the same probabilities; None if there is no such bound.
        has_threshold: whether the head emits a per-prompt threshold gamma, subtracted from the coefficients.
    """

    name: str
    outcomes: tuple[str, ...]
    num_eta: int
    targets: Targets
    formula: LogProbs
    formula_from_odds: ProbsFromOdds | None = None
    shift_invariant: bool = True
    has_threshold: bool = False
    least_eta: float | None = None

    def log_probs(
        self, coefs_a: Float[Array, "..."], coefs_b: Float[Array, "..."], eta: Float[Array, "..."] | None = None
    ) -> Float[Array, "... outcomes"]:
        """Return the log-probability of every outcome; the arguments broadcast.

        The result is float32, or float64 for float64 coefficients.

        All pairs of models at once: ``log_probs(c[..., :, None], c[..., None, :], eta[..., None, None])``.
        """
        if self.num_eta and eta is None:
            raise ValueError(f"family {self.name!r} needs eta, one value per ranking; got None")
        parameters = (coefs_a, coefs_b) if eta is None or not self.num_eta else (coefs_a, coefs_b, eta)
        # Coefficients of +-60 cancel: float32 leaves 5e-6 in the sum of the probabilities, float64 nothing that shows,
        # and the cost is a few operations a vote.
        return narrow(self.formula(*map(widen, parameters)), coefs_a)

    def probs_from_odds(
        self, odds_a: Float[Array, "..."], odds_b: Float[Array, "..."], eta: Float[Array, "..."] | None = None
    ) -> tuple[Float[Array, "..."], ...]:
        """Return the probability of each outcome from e^coefs, in the dtype of the arguments.

        float32 is exact enough for |coefs| and |eta| up to 40; ``log_probs`` has no such bound.
        """
        if self.formula_from_odds is None:
            xp = namespace(odds_a)
            probs = xp.exp(self.log_probs(xp.log(odds_a), xp.log(odds_b), eta))
            return tuple(probs[..., column] for column in range(len(self.outcomes)))
        return self.formula_from_odds(odds_a, odds_b, *([eta] if self.num_eta else []))

    def target_matrix(self, like: Array) -> Float[Array, "4 outcomes"]:
        """Return ``targets`` as a tensor of torch with the dtype and device of ``like``."""
        return like.new_tensor(self.targets)


def merge_ties(family: OutcomeFamily, name: str) -> OutcomeFamily:
    """Merge the columns tie and both bad of a family into one column, tie."""

    def formula(*parameters: Array) -> Array:
        log_probs = family.formula(*parameters)
        return namespace(log_probs).concatenate((log_probs[..., :2], log_sum_exp(log_probs[..., 2:])), -1)

    def formula_from_odds(*parameters: Array) -> tuple[Array, ...]:
        win, lose, *ties = family.probs_from_odds(*parameters)
        return win, lose, sum(ties[1:], ties[0])

    return replace(
        family,
        name=name,
        outcomes=(*family.outcomes[:2], TIE),
        targets=tuple((*row[:2], sum(row[2:])) for row in family.targets),
        formula=formula,
        formula_from_odds=formula_from_odds,
    )
