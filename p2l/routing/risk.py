"""Score models by what the posterior of the head leaves open: by a quantile of the score, or by its expected value."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, final

import numpy as np
from jaxtyping import Float32, Float64
from numpy.polynomial.hermite_e import hermegauss

from p2l.arrays import to_numpy
from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import OutcomeFamily
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.scores import Opponents, published_scores, scores, win_rates
from p2l.types import Ranking

Risk = float | Literal["expected"]
"""A quantile of the score, in (0, 1): 0.1 distrusts models that few votes bound. Or its expected value."""

_NODES, _WEIGHTS = hermegauss(5)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_SHARES = np.linspace(0, 1, 49)  # of the range of coefficients: win rates are computed there, and linear in between


def check_risk(risk: Risk, name: str = "risk") -> None:
    """Raise ConfigError unless it is a number between 0 and 1, without them, or "expected"."""
    if risk != "expected" and (isinstance(risk, (bool, str)) or not 0 < risk < 1):
        raise ConfigError(
            f'{name} must be a quantile above 0 and below 1, such as 0.1 (a lower bound), or "expected"; got {risk!r}'
        )


@final
@dataclass(frozen=True, eq=False)
class ScoreRisk:
    """Scores under the posterior of the head (``p2l posterior``), without measured scores.

    A quantile q scores each model by its coefficient plus the normal quantile of q times the coefficient's standard
    deviation on the prompt: since scores rise with coefficients, this is the quantile of the score. For win rates the
    deviation is that of the difference from the opponents' mean, and the opponents stay as estimated. "expected" is the
    mean of the score over a normal distribution of the coefficient; where little is known it moves to the middle. For
    win rates its variance is the mean of the variances of the differences from each opponent.

    The residual of the posterior is left out: no vote could tell it, and the head's probabilities are averages over it.

    Attributes:
        risk: what to score by.
        by_feature: variance of each coefficient for one unit of each squared feature of the state.
        everywhere: variance of each coefficient on every prompt, nats^2.
    """

    risk: Risk
    by_feature: Float32[np.ndarray, "hidden models"]
    everywhere: Float64[np.ndarray, " models"]

    @classmethod
    def of(cls, risk: Risk, posterior: HeadPosterior, opponents: Opponents | None) -> "ScoreRisk":
        """Take the variances from the posterior; ``opponents``: those that win rates are against."""
        check_risk(risk)
        models = posterior.num_models
        centre = np.eye(models)
        if opponents is not None:
            centre[:, opponents.indices] -= opponents.weights
        squares = (centre @ posterior.output_directions[:models]) ** 2
        level = (centre @ posterior.level_covariance[:models, :models] @ centre.T).diagonal().clip(0)
        if opponents is not None and risk == "expected":
            squares, level = (each + opponents.weights @ each[opponents.indices] for each in (squares, level))
        open_ = 1 / (1 + posterior.curvature[:, None] * posterior.output_information)
        return cls(risk, (posterior.scale * (open_ @ squares.T)).astype(np.float32), posterior.scale * level)

    def deviations(self, ranking: Ranking) -> Float64[np.ndarray, "*batch models"]:
        """Return the standard deviation of each coefficient on each prompt, nats; ConfigError without states."""
        if ranking.states is None:
            raise ConfigError("risk needs the posterior's states in the ranking: its checkpoint has no posterior")
        states = np.asarray(to_numpy(ranking.states), dtype=np.float32)
        return np.sqrt(np.square(states) @ self.by_feature + self.everywhere)

    @property
    def moves_coefs(self) -> bool:
        """Whether the scores are those of other coefficients, with which they rise."""
        return self.risk != "expected"

    def coefs(self, ranking: Ranking) -> Float64[np.ndarray, "*batch models"]:
        """Return the quantile of each coefficient."""
        assert self.risk != "expected"
        return to_numpy(ranking.coefs) + NormalDist().inv_cdf(self.risk) * self.deviations(ranking)

    def scores(
        self, optimizer: Optimizer, family: OutcomeFamily, ranking: Ranking, opponents: Opponents
    ) -> Float64[np.ndarray, "*batch models"]:
        """Return what the router maximises of each model on each prompt."""
        if self.moves_coefs:
            return scores(optimizer, family, ranking, opponents, own=self.coefs(ranking))
        nodes = to_numpy(ranking.coefs)[..., None] + self.deviations(ranking)[..., None] * _NODES
        if optimizer != "optimal-lp":
            return published_scores(family, ranking, own=nodes) @ _WEIGHTS
        low, high = nodes.min((-2, -1))[..., None], nodes.max((-2, -1))[..., None]
        levels = low + (high - low) * _SHARES
        rates = win_rates(family, ranking, opponents, own=levels)
        found = np.empty(nodes.shape)
        for prompt in np.ndindex(nodes.shape[:-2]):
            found[prompt] = np.interp(nodes[prompt], levels[prompt], rates[prompt])
        return found @ _WEIGHTS
