"""The scaling law of the loss in model size and number of votes, and its fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import minimize, nnls

from p2l.errors import DataError
from p2l.scaling.points import ScalingPoint, Split

COEFFICIENTS = 5
HUBER_DELTA = 1e-3  # of log L: Hoffmann et al. 2022, appendix D.3
LARGEST_EXPONENT = 4.0
EXPONENTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # starting points of the search
SMALLEST_TERM = -14.0  # log of a term at the middle of the points; a smaller term counts as zero
Numbers = Float[np.ndarray, "..."] | float
Values = Float64[np.ndarray, " points"]


class Observations(NamedTuple):
    """Losses (nats a vote) of models of ``parameters`` trained on ``votes``."""

    parameters: Values
    votes: Values
    log_loss: Values

    def select(self, rows: np.ndarray) -> "Observations":
        return Observations(*(column[rows] for column in self))


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = e + a / N ** alpha + b / D ** beta (Hoffmann et al. 2022, equation 2).

    N counts parameters without embeddings, D votes. L, its two terms, and the irreducible loss ``e`` are in nats a
    vote.
    """

    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, parameters: Numbers, votes: Numbers) -> np.ndarray:
        """Return the loss at each pair of numbers, broadcast."""
        sizes, counts = (np.asarray(numbers, dtype=np.float64) for numbers in (parameters, votes))
        return np.asarray(self.e + self.a * sizes**-self.alpha + self.b * counts**-self.beta)

    def __str__(self) -> str:
        return f"L = {self.e:.4f} + {self.a:.3g} / N^{self.alpha:.3f} + {self.b:.3g} / D^{self.beta:.3f}"


def observe(points: list[ScalingPoint], split: Split) -> Observations:
    """Return the losses of a split; raises ``DataError`` if they do not determine the law."""
    losses = [point.log_loss(split) for point in points]
    bad = [i for i, loss in enumerate(losses) if loss is None or not 0 < loss < np.inf]
    if bad:
        raise DataError(f"{len(bad)} of {len(points)} points have no {split} loss above 0, the first: {points[bad[0]]}")
    if len(points) <= COEFFICIENTS:
        raise DataError(f"the law has {COEFFICIENTS} coefficients: more points are needed than {len(points)}")
    for name, values in (
        ("sizes (parameters)", {point.parameters for point in points}),
        ("numbers of votes", {point.votes for point in points}),
    ):
        if len(values) < 3:
            raise DataError(f"a constant and a power need at least 3 {name}; the points have {sorted(values)}")
    columns = ([p.parameters for p in points], [p.votes for p in points], losses)
    return Observations(*(np.array(column, dtype=np.float64) for column in columns))


def fit_law(seen: Observations, start: ScalingLaw | None = None) -> ScalingLaw:
    """Return the law with the smallest sum of Huber losses of log L, by L-BFGS from the best of many starts.

    Exponents lie in [0, 4]. log N and log D are centred at the middle of the points, which conditions the search.
    ``start`` is one more start, for fits to similar points. Source: Hoffmann et al. 2022, appendix D.3.
    """
    x, y = np.log(seen.parameters), np.log(seen.votes)
    middle = float(x.mean()), float(y.mean())
    given = (x - middle[0], y - middle[1], np.log(seen.log_loss))
    starts = sorted(_starts(seen, *given[:2]), key=lambda at: _objective(at, *given)[0])[: 8 if start is None else 1]
    starts += [] if start is None else [_coordinates(start, middle)]
    bounds = [(SMALLEST_TERM, float(given[2].min())), *[(SMALLEST_TERM, 3.0), (0.0, LARGEST_EXPONENT)] * 2]
    limit = {"maxiter": 400}  # if e is not identified, the search would move along a flat valley
    found = [minimize(_objective, at, given, "L-BFGS-B", jac=True, bounds=bounds, options=limit) for at in starts]
    log_e, log_a, alpha, log_b, beta = min(found, key=lambda result: result.fun).x.tolist()
    a, b = np.exp(log_a + alpha * middle[0]), np.exp(log_b + beta * middle[1])
    return ScalingLaw(float(np.exp(log_e)), float(a), alpha, float(b), beta)


def _objective(at: np.ndarray, x: Values, y: Values, log_loss: Values) -> tuple[float, np.ndarray]:
    """Return the sum of Huber losses and its gradient in (log e, log a, alpha, log b, beta)."""
    log_e, log_a, alpha, log_b, beta = at
    terms = np.exp(np.stack([np.full_like(x, log_e), log_a - alpha * x, log_b - beta * y]))
    total = terms.sum(axis=0)
    residual = np.log(total) - log_loss
    inside = np.abs(residual) <= HUBER_DELTA
    value = np.where(inside, residual**2 / 2, HUBER_DELTA * (np.abs(residual) - HUBER_DELTA / 2)).sum()
    of_e, of_a, of_b = terms / total * np.clip(residual, -HUBER_DELTA, HUBER_DELTA)
    gradient = [of_e.sum(), of_a.sum(), -(of_a * x).sum(), of_b.sum(), -(of_b * y).sum()]
    # without this division, values would be below the tolerances of the search
    return float(value) / HUBER_DELTA**2, np.array(gradient) / HUBER_DELTA**2


def _starts(seen: Observations, x: Values, y: Values) -> Iterator[np.ndarray]:
    """Yield the least-squares law of each pair of exponents: the other coefficients are linear."""
    for alpha, beta in product(EXPONENTS, EXPONENTS):
        terms, _ = nnls(np.stack([np.ones_like(x), np.exp(-alpha * x), np.exp(-beta * y)], axis=1), seen.log_loss)
        log_e, log_a, log_b = np.log(np.maximum(terms, np.exp(SMALLEST_TERM)))
        yield np.array([log_e, log_a, alpha, log_b, beta])


def _coordinates(law: ScalingLaw, middle: tuple[float, float]) -> np.ndarray:
    log_a = np.log(law.a) - law.alpha * middle[0]
    log_b = np.log(law.b) - law.beta * middle[1]
    return np.array([np.log(law.e), log_a, law.alpha, log_b, law.beta])
