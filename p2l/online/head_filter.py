"""Update the posterior of a head one piece of feedback after the other."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64

from p2l.online.gain import Gain, Rows, gain_of
from p2l.online.head_feedback import Feedback, FeedbackLikelihood
from p2l.online.influence import KeyLimits, KeyShare, allowed_weights, faded, kept_share
from p2l.online.online_head import OnlineHead, growth
from p2l.options import check_count, check_number

_BATCH = 64  # pieces of feedback that are expanded around one mean
_MOST_SHIFT = 1 - 1e-9  # of what a bound leaves, so that rounding does not pass it


@dataclass(frozen=True, eq=False, repr=False)
class HeadState:
    """The posterior of the corrections B after some feedback.

    Attributes:
        mean: of B.
        covariance: of its entries, row after row.
        draws: of B minus its mean.
        keys: what each key has changed.
        count: pieces of feedback so far.
    """

    mean: Float64[np.ndarray, "outputs features"]
    covariance: Float64[np.ndarray, "parameters parameters"]
    draws: Float64[np.ndarray, "draws outputs features"]
    keys: Mapping[str, KeyShare] = field(default_factory=dict)
    count: int = 0

    def correction(self, features: Float64[np.ndarray, "*prompts features"]) -> Float64[np.ndarray, "*prompts outputs"]:
        """Return what to add to the trained head's outputs."""
        return features @ self.mean.T

    def covariances(
        self, features: Float64[np.ndarray, "*prompts features"]
    ) -> Float64[np.ndarray, "*prompts outputs outputs"]:
        """Return the covariance of the outputs of prompts, as far as feedback can lessen it."""
        shape = (len(self.mean), self.mean.shape[1])
        parts = self.covariance.reshape(shape + shape)
        return np.einsum("...f,ofpg,...g->...op", features, parts, features, optimize=True)

    def __repr__(self) -> str:
        outputs, features = self.mean.shape
        return f"HeadState({self.count:,} pieces of feedback, {outputs} outputs x {features} features)"


@dataclass(frozen=True)
class FilterOptions:
    """How feedback counts.

    Attributes:
        memory: number of pieces of feedback after which an earlier one has faded to 1/e: B drifts around the trained
            head, with the prior as its spread. None: nothing is forgotten.
        dispersion: of scores; see ``FeedbackLikelihood``.
        draws: of B that are kept for exploring; 0: none.
        seed: of the draws.
        limits: of each key.
    """

    memory: float | None = None
    dispersion: float = 1.0
    draws: int = 0
    seed: int = 0
    limits: KeyLimits = field(default_factory=KeyLimits)

    def __post_init__(self) -> None:
        if self.memory is not None:
            check_number("memory", self.memory, above=1)
        check_count("draws", self.draws, least=0)

    def kept(self, pieces: int) -> float:
        """Return what is left of a correction after more feedback."""
        return 1.0 if self.memory is None else float(np.exp(-pieces / self.memory))


class HeadFilter:
    """Updates ``HeadState`` by feedback: an extended Kalman filter with a bounded influence of each key.

    The same feedback in the same batches gives the same state, draws included.
    """

    def __init__(self, head: OnlineHead, options: FilterOptions | None = None) -> None:
        self.head = head
        self.options = options or FilterOptions()
        self.likelihood = FeedbackLikelihood(head.family, self.options.dispersion)

    def start(self) -> HeadState:
        """Return the state before any feedback."""
        head, size = self.head, len(self.head.start)
        covariance = np.zeros((head.num_outputs, size, head.num_outputs, size))
        at = np.arange(size)
        covariance[:, at, :, at] = head.start
        values, vectors = np.linalg.eigh(head.start)
        draws = self._noise(0, vectors * np.sqrt(values.clip(0))[:, None])
        return HeadState(np.zeros((head.num_outputs, size)), covariance.reshape(2 * (head.num_outputs * size,)), draws)

    def update(self, state: HeadState, feedback: Feedback) -> HeadState:
        """Return the state after more feedback; the given one stays as it is."""
        for first in range(0, len(feedback), _BATCH):
            state = self._step(state, feedback.rows(slice(first, first + _BATCH)))
        return state

    def with_model(self, state: HeadState, name: str) -> tuple["HeadFilter", HeadState]:
        """Return the filter and the state with one more LLM: the mean of the others, and the typical deviation.

        The outputs of the trained head that come with later feedback need a column for it: the mean of the others'.
        """
        old, new = self.head, self.head.with_model(name)
        models, size = len(old.models), len(old.start)
        grow = growth(models, old.num_outputs)
        parts = state.covariance.reshape(2 * (old.num_outputs, size))
        parts = np.einsum("ao,ofpg,bp->afbg", grow, parts, grow, optimize=True)
        at = np.arange(size)
        parts[models, at, models, at] += new.typical
        draws = grow @ state.draws
        rng = np.random.default_rng((self.options.seed, state.count, models))
        draws[:, models] += np.sqrt(new.typical) * rng.standard_normal((len(draws), size))
        keys = {key: KeyShare(one.evidence, grow @ one.shift) for key, one in state.keys.items()}
        covariance = parts.reshape(2 * (new.num_outputs * size,))
        grown = HeadState(grow @ state.mean, covariance, draws, keys, state.count)
        return HeadFilter(new, self.options), grown

    def _step(self, state: HeadState, feedback: Feedback) -> HeadState:
        state, limits = self._forget(state, len(feedback)), self.options.limits
        weights = allowed_weights(feedback.keys, feedback.weight, state.keys, limits)
        feedback = replace(feedback, weight=weights)
        evidence = self.likelihood.evidence(feedback, feedback.outputs + state.correction(feedback.features))
        rows = Rows.of(evidence, feedback.features, self.head.noise)
        count = state.count + len(feedback)
        keys = np.array(feedback.keys, dtype=object)
        if not len(rows.output):
            return replace(state, count=count, keys=self._shares(state, weights, keys, {}))
        rng = np.random.default_rng((self.options.seed, count))
        cross, own = rows.covariances(state.covariance, self.head.num_outputs)
        gain = gain_of(rows, own, state.draws, rng)
        moves, kept = self._moves(state, cross, gain, rows, keys)
        if min(kept.values()) < 1:  # what is clipped must not make the model sure either
            factors = np.array([kept.get(key, 1.0) for key in feedback.keys])
            rows, weights = rows.scaled(factors), weights * factors
            gain = gain_of(rows, own, state.draws, rng)
            moves, kept = self._moves(state, cross, gain, rows, keys)
        total = sum(kept[key] * move for key, move in moves.items())
        covariance = state.covariance - cross @ (gain.loss @ cross.T)
        draws = state.draws - (cross @ gain.perturbed).T.reshape(state.draws.shape)
        moves = {key: kept[key] * move for key, move in moves.items()}
        return HeadState(state.mean + total, covariance, draws, self._shares(state, weights, keys, moves), count)

    def _moves(
        self,
        state: HeadState,
        cross: Float64[np.ndarray, "parameters rows"],
        gain: Gain,
        rows: Rows,
        keys: np.ndarray,
    ) -> tuple[dict[str, Float64[np.ndarray, "outputs features"]], dict[str, float]]:
        """Return how each key moves the mean, and the share of it that its bound allows."""
        moves, kept = {}, {}
        for key in dict.fromkeys(keys[rows.piece]):
            at = np.flatnonzero(keys[rows.piece] == key)
            moves[key] = (cross[:, at] @ gain.step[at]).reshape(state.mean.shape)
            before = state.keys[key].shift if key in state.keys else np.zeros_like(state.mean)
            most = self.options.limits[key].most_shift
            kept[key] = kept_share(self.head, before, moves[key], None if most is None else most * _MOST_SHIFT)
        return moves, kept

    def _shares(
        self,
        state: HeadState,
        weights: Float64[np.ndarray, " feedback"],
        keys: np.ndarray,
        moves: Mapping[str, Float64[np.ndarray, "outputs features"]],
    ) -> dict[str, KeyShare]:
        added: dict[str, float] = defaultdict(float)
        for key, weight in zip(keys, weights, strict=True):
            added[key] += float(weight)
        shares = dict(state.keys)
        for key, weight in added.items():
            before = shares.get(key, KeyShare(0.0, np.zeros_like(state.mean)))
            shares[key] = KeyShare(before.evidence + weight, before.shift + moves.get(key, 0.0))
        return shares

    def _forget(self, state: HeadState, pieces: int) -> HeadState:
        factor = self.options.kept(pieces)
        if factor == 1:
            return state
        size, outputs = len(self.head.prior), self.head.num_outputs
        covariance = state.covariance * factor**2
        at = np.arange(size)
        covariance.reshape(outputs, size, outputs, size)[:, at, :, at] += (1 - factor**2) * self.head.prior
        draws = factor * state.draws + np.sqrt(1 - factor**2) * self._noise(state.count + 1, self.head.roots)
        return HeadState(factor * state.mean, covariance, draws, faded(state.keys, factor), state.count)

    def _noise(
        self, count: int, roots: Float64[np.ndarray, "features outputs outputs"]
    ) -> Float64[np.ndarray, "draws outputs features"]:
        rng = np.random.default_rng((self.options.seed, count, 1))
        shape = (self.options.draws, len(roots), self.head.num_outputs, 1)
        return (roots @ rng.standard_normal(shape))[..., 0].swapaxes(1, 2)
