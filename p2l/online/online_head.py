"""What traffic may change of a head: its level and its most telling features, and how far it is expected to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.options import check_count, check_number
from p2l.outcomes import OutcomeFamily

MAX_PARAMETERS = 1024  # the square of them is stored, and each vote changes all of it
_TYPICAL = 0.3  # variance of a coefficient over prompts, in multiples of that over models
_SHARED = 0.5  # of it is common to all models: a prompt is hard
_RESIDUAL = 0.25  # share of it that no linear head can tell


@dataclass(frozen=True, eq=False, repr=False)
class OnlineHead:
    """A Gaussian prior of corrections to a head: outputs(h) = trained outputs(h) + B features(h).

    features(h) = (1, the ``selected`` coordinates of (h - centre) directions), so that column 0 of B is a change for
    all prompts. The columns of B are independent, column i has the covariance ``prior[i]`` over the outputs
    (coefficients, then eta). What else differs from prompt to prompt has the covariance ``noise``.

    Attributes:
        models: the LLMs.
        family: of the head.
        centre, directions: of ``HeadPosterior``.
        selected: columns of ``directions`` that traffic may change the weights of.
        start: covariance of each column of B before any feedback.
        prior: covariance that ``start`` grows to as feedback is forgotten; at least ``start``.
        noise: of a prompt's outputs.
        share: of the variance over prompts that the selected features hold.
        typical: variance of the correction of a new model, for each column of B.
    """

    models: tuple[str, ...]
    family: OutcomeFamily
    centre: Float64[np.ndarray, " hidden"]
    directions: Float64[np.ndarray, "hidden hidden"]
    selected: Int64[np.ndarray, " selected"]
    start: Float64[np.ndarray, "features outputs outputs"]
    prior: Float64[np.ndarray, "features outputs outputs"]
    noise: Float64[np.ndarray, "outputs outputs"]
    share: float
    typical: Float64[np.ndarray, " features"]

    @classmethod
    def of(
        cls,
        posterior: HeadPosterior,
        models: Sequence[str],
        family: OutcomeFamily,
        *,
        drift: float = 0.3,
        spread: float = 1.0,
        max_parameters: int = MAX_PARAMETERS,
    ) -> "OnlineHead":
        """Return the prior that a head's posterior is.

        Args:
            posterior: of the head.
            models: its LLMs.
            family: of the head.
            drift: standard deviation, in nats, of how far an LLM may come to be from what the votes said.
            spread: variance of the coefficients over the LLMs, expected of a new one.
            max_parameters: most numbers that traffic may change: (1 + features) x outputs.

        Raises ConfigError if not even the level of each output has a place among them.
        """
        check_number("drift", drift, least=0)
        check_number("spread", spread, above=0)
        check_count("max_parameters", max_parameters)
        outputs, hidden = len(posterior.output_information), len(posterior.curvature)
        if outputs != len(models) + family.num_eta:
            raise ConfigError(f"the posterior has {outputs} outputs; {len(models)} models need another number")
        if max_parameters < outputs:
            raise ConfigError(f"max_parameters: {outputs} outputs need at least {outputs}; got {max_parameters}")
        axes = posterior.output_directions
        variance = posterior.scale / (1 + posterior.curvature[:, None] * posterior.output_information)
        worth = posterior.curvature * (variance @ (axes**2).sum(0))
        order = np.argsort(-worth, kind="stable")
        kept, rest = np.split(order, [min(hidden, max_parameters // outputs - 1)])
        weights = (axes * variance[kept][:, None, :]) @ axes.T
        level = posterior.scale * posterior.level_covariance
        change = _change_of_models(outputs, len(models), family) * drift**2
        unknown = posterior.residual + posterior.curvature[rest] @ variance[rest]
        apart = (axes[: len(models)] ** 2).sum() / len(models)  # expected of a coefficient along one feature
        return cls(
            models=tuple(models),
            family=family,
            centre=posterior.centre,
            directions=posterior.directions,
            selected=kept,
            start=np.concatenate((level[None], weights)),
            prior=np.concatenate(((level + change)[None], weights)),
            noise=(axes * unknown) @ axes.T,
            share=float(worth[kept].sum() / max(worth.sum(), 1e-300)),
            typical=np.concatenate(([spread], np.full(len(kept), apart))),
        )

    @property
    def num_outputs(self) -> int:
        return len(self.noise)

    @cached_property
    def roots(self) -> Float64[np.ndarray, "features outputs outputs"]:
        """Roots R of ``prior``: R R^T."""
        return _power(self.prior, 0.5)

    @cached_property
    def whitening(self) -> Float64[np.ndarray, "features outputs outputs"]:
        """Inverse roots of ``prior``; a direction without variance has none."""
        return _power(self.prior, -0.5)

    def features(self, hidden: Float64[np.ndarray, "*prompts hidden"]) -> Float64[np.ndarray, "*prompts features"]:
        """Return what the correction of each prompt is read from."""
        return self.features_of((hidden - self.centre) @ self.directions)

    def features_of(self, states: Float64[np.ndarray, "*prompts hidden"]) -> Float64[np.ndarray, "*prompts features"]:
        """Return the same of ``HeadPosterior.states``."""
        chosen = states[..., self.selected]
        return np.concatenate((np.ones((*chosen.shape[:-1], 1)), chosen), -1)

    def deviation(self, features: Float64[np.ndarray, "*prompts features"]) -> Float64[np.ndarray, "*prompts outputs"]:
        """Return the prior's standard deviation of each output's correction."""
        return np.sqrt((features**2) @ self.prior.diagonal(axis1=1, axis2=2))

    def with_model(self, name: str) -> "OnlineHead":
        """Return the prior with one more LLM: the mean of the others, and a deviation of the typical size."""
        if name in self.models:
            raise ConfigError(f"there is a model {name!r} already")
        grow = growth(len(self.models), self.num_outputs)
        at = len(self.models)
        own = np.zeros((len(self.typical), self.num_outputs + 1, self.num_outputs + 1))
        own[:, at, at] = self.typical
        noise = grow @ self.noise @ grow.T
        noise[at, at] = self.noise.diagonal()[:at].mean()  # the mean of the models has less than each of them
        return replace(
            self,
            models=(*self.models, name),
            start=grow @ self.start @ grow.T + own,
            prior=grow @ self.prior @ grow.T + own,
            noise=noise,
        )

    def __repr__(self) -> str:
        return (
            f"OnlineHead({len(self.models)} models, {self.family.name}, {len(self.selected)} features, "
            f"{self.share:.0%} of the variance over prompts)"
        )


def growth(num_models: int, num_outputs: int) -> Float64[np.ndarray, "more outputs"]:
    """Return the map to outputs with one more model after the others: it starts as their mean."""
    rows = np.eye(num_outputs)
    mean = np.zeros(num_outputs)
    mean[:num_models] = 1 / num_models
    return np.insert(rows, num_models, mean, axis=0)


def cold_posterior(
    hidden: Float64[np.ndarray, "prompts hidden"], num_models: int, family: OutcomeFamily, *, spread: float = 1.0
) -> HeadPosterior:
    """Return the prior of a head that has seen no vote, as a posterior without information.

    ``hidden``: states of some prompts without votes, which show along what prompts differ. Half of how prompts change
    the coefficients is expected to be common to all models. ``spread``: variance of the coefficients over models.
    """
    centre = hidden.mean(0)
    deviation = np.maximum(hidden.std(0), 1e-6)
    values, axes = np.linalg.eigh(np.cov(((hidden - centre) / deviation).T))
    values = values.clip(1e-9 * values.max())
    scale = np.sqrt(_TYPICAL * spread / values.sum())
    outputs = num_models + family.num_eta
    over_models = np.eye(outputs)
    over_models[:num_models, :num_models] = (1 - _SHARED) * np.eye(num_models) + _SHARED
    keep = np.eye(outputs)
    if family.shift_invariant:
        keep[:num_models, :num_models] -= 1 / num_models
    curvature = values * scale**2
    return HeadPosterior(
        centre=centre,
        directions=axes * scale / deviation[:, None],
        curvature=curvature,
        output_directions=keep @ _power(over_models, 0.5),
        output_information=np.zeros(outputs),
        level_covariance=keep @ (np.eye(outputs) * spread) @ keep,
        scale=1.0,
        residual=_RESIDUAL * float(curvature.sum()),
        num_models=num_models,
    )


def _change_of_models(outputs: int, num_models: int, family: OutcomeFamily) -> Float64[np.ndarray, "outputs outputs"]:
    change = np.zeros((outputs, outputs))
    change[:num_models, :num_models] = np.eye(num_models) - (1 / num_models if family.shift_invariant else 0)
    return change


def _power(matrices: Float64[np.ndarray, "*some n n"], power: float) -> Float64[np.ndarray, "*some n n"]:
    """Return powers of covariances; directions without variance stay without."""
    values, vectors = np.linalg.eigh(matrices)
    floor = 1e-10 * np.maximum(values.max(-1, keepdims=True), 1e-300)
    powers = np.where(values > floor, np.maximum(values, floor) ** power, 0.0)
    return (vectors * powers[..., None, :]) @ vectors.swapaxes(-1, -2)
