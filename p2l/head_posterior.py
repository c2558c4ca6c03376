"""What the votes leave open about the coefficients of a prompt: a Gaussian posterior of the head's weights."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

States = Float64[np.ndarray, "*prompts hidden"]


@dataclass(frozen=True, eq=False, repr=False)
class HeadPosterior:
    """The Laplace posterior of a linear head, Kronecker-factored: hidden states times outputs.

    The outputs of a prompt are its coefficients, then eta if the family has one. With z = (h - centre) directions and
    D = output_directions, the covariance of the outputs at z is

        scale (level_covariance + D diag(v(z)) D^T) + residual D D^T,
        v_j(z) = sum_i z_i^2 / (1 + curvature_i output_information_j).

    The level is the error of the mean leaderboard; v is that of how a prompt differs, which grows with the distance
    from the training prompts; the residual is what no linear head can tell apart. Directions are scaled so that the
    prior of each weight has variance 1: D D^T is what the prior expects of the outputs along one feature. Sources:
    Ritter et al. 2018 ("A scalable Laplace approximation for neural networks"), Immer et al. 2021 (arXiv:2104.04975).

    Attributes:
        centre: (hidden,) mean hidden state of the votes, by what they tell.
        directions: (hidden, hidden) columns are the features that the head reads.
        curvature: (hidden,) variance of each feature over the votes.
        output_directions: (outputs, outputs) columns are the directions in which prior and votes are independent. Those
            of shift-invariant families have mean 0 over the models: they tell nothing of a common constant.
        output_information: (outputs,) what the votes tell along each, in multiples of the prior.
        level_covariance: (outputs, outputs) of the outputs at ``centre``.
        scale, residual: fitted to validation votes, if there were any.
        num_models: coefficients among the outputs.
        report: figures of the fit.
    """

    centre: Float64[np.ndarray, " hidden"]
    directions: Float64[np.ndarray, "hidden hidden"]
    curvature: Float64[np.ndarray, " hidden"]
    output_directions: Float64[np.ndarray, "outputs outputs"]
    output_information: Float64[np.ndarray, " outputs"]
    level_covariance: Float64[np.ndarray, "outputs outputs"]
    scale: float
    residual: float
    num_models: int
    report: dict[str, Any] = field(default_factory=dict)

    def states(self, hidden: Float64[np.ndarray, "*prompts hidden"]) -> States:
        """Return the states z of hidden states; the mean of states is the state of the mean."""
        return (hidden - self.centre) @ self.directions

    def covariance(self, states: States) -> Float64[np.ndarray, "*prompts outputs outputs"]:
        """Return the covariance of the outputs."""
        return self.scale * self.level_covariance + self._of_prompt(states, self.residual)

    def change_covariance(self, first: States, second: States) -> Float64[np.ndarray, "*prompts outputs outputs"]:
        """Return the covariance of the outputs of second prompts minus those of first ones: the level cancels."""
        return self._of_prompt(second - first, 2 * self.residual)

    def factors(
        self, states: Float64[np.ndarray, "prompts hidden"], *, alike: bool
    ) -> tuple[Float64[np.ndarray, "outputs outputs"], Float64[np.ndarray, "outputs outputs"]]:
        """Return roots of the covariance of the mean outputs of prompts: R, with R^T R of the level, and of the rest.

        If the prompts are ``alike``, they share one error, of the mean variance; else the head errs at their mean state
        and the residual is independent.
        """
        open_ = 1 / (1 + self.curvature[:, None] * self.output_information)
        squares = (states**2).mean(0) if alike else states.mean(0) ** 2
        variances = self.scale * (squares @ open_) + self.residual / (1 if alike else len(states))
        values, vectors = np.linalg.eigh(self.scale * self.level_covariance)
        return (vectors * np.sqrt(values.clip(0))).T, np.sqrt(variances)[:, None] * self.output_directions.T

    def _of_prompt(self, states: States, residual: float) -> Float64[np.ndarray, "*prompts outputs outputs"]:
        open_ = 1 / (1 + self.curvature[:, None] * self.output_information)
        variances = self.scale * (states**2 @ open_) + residual
        return (variances[..., None, :] * self.output_directions) @ self.output_directions.T

    def rescaled(self, scale: float, eta_scale: float) -> "HeadPosterior":
        """Return the posterior of ``scale`` coefs and ``eta_scale`` eta."""
        factors = np.full(len(self.output_information), eta_scale)
        factors[: self.num_models] = scale
        return replace(
            self,
            output_directions=factors[:, None] * self.output_directions,
            level_covariance=np.outer(factors, factors) * self.level_covariance,
        )

    def numbers(self) -> dict[str, Float64[np.ndarray, "..."]]:
        """Return all numbers that intervals depend on, by name."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "report"}
        return {name: np.asarray(value, dtype=np.float64) for name, value in named.items()}

    def __repr__(self) -> str:
        size = f"{len(self.output_information)} outputs, {len(self.curvature)} hidden units"
        return f"HeadPosterior({size}, scale {self.scale:.3g}, residual {self.residual:.3g})"
