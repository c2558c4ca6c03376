"""Uncertainty of a scaling law: fits to resampled residuals, and coefficients that are not identified."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64
from tqdm.auto import tqdm

from p2l.options import check_count, check_seed
from p2l.scaling.law import (
    COEFFICIENTS,
    LARGEST_EXPONENT,
    Observations,
    ScalingLaw,
    fit_law,
)
from p2l.statistics.bootstrap import Interval, percentile_interval

VISIBLE = 1e-3  # nats a vote: a term that varies less over the points is not identified


@dataclass(frozen=True, eq=False)
class LawFit:
    """A law, the points it was fitted to, and fits to resampled points.

    Sizes and votes are fixed by the design of a sweep, so the residuals of log L are resampled, scaled by
    sqrt(points / (points - 5)) for the 5 fitted coefficients. Intervals cover the scatter of single runs. They do not
    cover another test set, which would shift all points together.
    """

    law: ScalingLaw
    seen: Observations
    resampled: tuple[ScalingLaw, ...]
    residuals: Float64[np.ndarray, " points"]

    def coefficients(self) -> dict[str, Interval]:
        names = [field.name for field in fields(ScalingLaw)]
        samples = np.array([[getattr(law, name) for name in names] for law in self.resampled])
        return {name: percentile_interval(getattr(self.law, name), samples[:, i]) for i, name in enumerate(names)}

    def predict(self, parameters: float, votes: float, seed: int = 0) -> Interval:
        """Return the predicted loss of a new run; the interval includes the scatter of a single run."""
        scatter = np.random.default_rng(seed).choice(self.residuals, len(self.resampled))
        drawn = np.array([float(law.loss(parameters, votes)) for law in self.resampled]) * np.exp(scatter)
        return percentile_interval(float(self.law.loss(parameters, votes)), drawn)

    @property
    def rmse(self) -> float:
        """Root mean squared residual, nats a vote."""
        error = self.law.loss(self.seen.parameters, self.seen.votes) - self.seen.log_loss
        return float(np.sqrt(np.mean(error**2)))

    def notes(self) -> tuple[str, ...]:
        """Return warnings about coefficients that the points do not identify; empty if there are none."""
        found = []
        for of, exponent, term in self._terms():
            value = getattr(self.law, exponent)
            if np.ptp(term) < VISIBLE:
                found.append(
                    f"{of} changes the loss by less than {VISIBLE} over the points: {exponent} is not identified"
                )
            elif not 1e-6 < value < LARGEST_EXPONENT - 1e-6:
                found.append(
                    f"{exponent} = {value:.2f} is at the edge of its allowed range: {of} follows no power here"
                )
        e, seen = self.coefficients()["e"], float(np.ptp(self.seen.log_loss))
        if self.law.e < VISIBLE:
            found.append("e is 0: the points do not show yet that the loss stops falling")
        elif e.high - e.low > seen:
            found.append(
                f"e is not identified: its interval [{e.low:.3f}, {e.high:.3f}] is wider than the range of the losses, "
                f"{seen:.3f}; do not extrapolate far"
            )
        return tuple(found)

    def _terms(self) -> Sequence[tuple[str, str, np.ndarray]]:
        return (
            ("model size", "alpha", self.law.a * self.seen.parameters**-self.law.alpha),
            ("the number of votes", "beta", self.law.b * self.seen.votes**-self.law.beta),
        )


def fit_with_intervals(seen: Observations, *, resamples: int = 200, seed: int = 0) -> LawFit:
    """Fit the law to the points and to ``resamples`` sets of losses with resampled residuals."""
    check_count("resamples", resamples, least=2)
    check_seed(seed)
    law, generator = fit_law(seen), np.random.default_rng(seed)
    expected = np.log(law.loss(seen.parameters, seen.votes))
    residuals = np.log(seen.log_loss) - expected
    residuals = residuals * np.sqrt(len(residuals) / (len(residuals) - COEFFICIENTS))
    drawn = [generator.choice(residuals, len(residuals)) for _ in range(resamples)]
    laws = [
        fit_law(seen._replace(log_loss=np.exp(expected + scatter)), start=law)
        for scatter in tqdm(drawn, desc="resampling", disable=resamples < 1000)
    ]
    return LawFit(law, seen, tuple(laws), residuals)
