"""Bounds on what the feedback of one key may change."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from p2l.online.online_head import OnlineHead
from p2l.options import check_number


@dataclass(frozen=True)
class KeyLimit:
    """How much one key counts.

    Attributes:
        weight: of each piece of its feedback; 0 ignores the key.
        most_shift: bound of the key's share B_k of all corrections, in standard deviations of the prior: no output of
            any prompt is moved by more than this many of its own. None: no bound.
        most_evidence: most feedback that counts at a time, in pieces of weight 1; what is beyond weighs nothing until
            older feedback is forgotten. It bounds how sure one key can make the model. None: no bound.
    """

    weight: float = 1.0
    most_shift: float | None = 1.0
    most_evidence: float | None = 1000.0

    def __post_init__(self) -> None:
        check_number("weight", self.weight, least=0)
        for name in ("most_shift", "most_evidence"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, above=0)


NO_LIMIT = KeyLimit(most_shift=None, most_evidence=None)


@dataclass(frozen=True)
class KeyLimits:
    """The limit of each key."""

    default: KeyLimit = field(default_factory=KeyLimit)
    of_keys: Mapping[str, KeyLimit] = field(default_factory=dict)

    def __getitem__(self, key: str) -> KeyLimit:
        return self.of_keys.get(key, self.default)


class KeyShare(NamedTuple):
    """What a key has changed: the sum of its feedback's weights, and its part of the corrections."""

    evidence: float
    shift: Float64[np.ndarray, "outputs features"]


Shares = Mapping[str, KeyShare]


def faded(shares: Shares, factor: float) -> dict[str, KeyShare]:
    """Return the shares after some forgetting."""
    return {key: KeyShare(one.evidence * factor, one.shift * factor) for key, one in shares.items()}


def allowed_weights(
    keys: tuple[str, ...], weights: Float64[np.ndarray, " feedback"], shares: Shares, limits: KeyLimits
) -> Float64[np.ndarray, " feedback"]:
    """Return the weight of each piece: its own times the key's, as far as the key's evidence has room."""
    used: dict[str, float] = defaultdict(float) | {key: one.evidence for key, one in shares.items()}
    allowed = np.empty(len(keys))
    for at, key in enumerate(keys):
        limit = limits[key]
        wanted = float(weights[at]) * limit.weight
        room = np.inf if limit.most_evidence is None else max(0.0, limit.most_evidence - used[key])
        allowed[at] = min(wanted, room)
        used[key] += allowed[at]
    return allowed


def kept_share(
    head: OnlineHead,
    before: Float64[np.ndarray, "outputs features"],
    step: Float64[np.ndarray, "outputs features"],
    most: float | None,
) -> float:
    """Return the largest share of a step, from 0 to 1, after which the key's shift is within its bound.

    The size of a shift B is the root of the sum over columns i of B_i^T prior_i^-1 B_i. By Cauchy and Schwarz, it
    changes no output by more than that many standard deviations of the prior.
    """
    if most is None:
        return 1.0
    start, along = _white(head, before), _white(head, step)
    square, mixed, room = float((along**2).sum()), float((start * along).sum()), most**2 - float((start**2).sum())
    if square + 2 * mixed <= room:
        return 1.0
    if square == 0 or room <= 0:
        return 0.0 if mixed >= 0 else min(1.0, -2 * mixed / max(square, 1e-300))
    return min(1.0, (np.sqrt(mixed**2 + square * room) - mixed) / square)


def shift_size(head: OnlineHead, shift: Float64[np.ndarray, "outputs features"]) -> float:
    """Return the size of a shift in standard deviations of the prior."""
    return float(np.sqrt((_white(head, shift) ** 2).sum()))


def _white(
    head: OnlineHead, weights: Float64[np.ndarray, "outputs features"]
) -> Float64[np.ndarray, "features outputs"]:
    return (head.whitening @ weights.T[:, :, None])[:, :, 0]
