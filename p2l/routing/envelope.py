"""The upper concave envelope of (cost, score): the scores that mixtures of models reach, exactly and without a solver.

The linear program max p.score subject to p.cost <= budget, sum p = 1, p >= 0 has one budget row, so an optimum mixes at
most two models, neighbours on this envelope; its slope at the budget is the price of the budget (the LP's dual).
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64


class Point(NamedTuple):
    """Cost, score and index of a model."""

    cost: float
    score: float
    model: int


class Mixture(NamedTuple):
    """``share`` of the traffic goes to the model ``high``, the rest to ``low``. ``price``: score per unit of budget."""

    low: int
    high: int
    share: float
    price: float
    score: float


@dataclass(frozen=True, eq=False)
class Frontier:
    """The vertices of the envelope, cheapest first: cost and score rise, score per unit of cost falls.

    Attributes:
        cost: in the unit of the budget.
        score: what the router maximises.
        model: index of the model.
    """

    cost: Float64[np.ndarray, " vertices"]
    score: Float64[np.ndarray, " vertices"]
    model: Int64[np.ndarray, " vertices"]

    @classmethod
    def of(cls, vertices: list[Point]) -> "Frontier":
        cost, score, model = zip(*vertices)
        return cls(np.array(cost, dtype=np.float64), np.array(score, dtype=np.float64), np.array(model, dtype=np.int64))


def pareto(score: Float[np.ndarray, " models"]) -> Int64[np.ndarray, " better"]:
    """Return the positions, in order of cost, whose score is better than all before."""
    better = np.empty(len(score), dtype=bool)
    better[0] = True
    np.greater(score[1:], np.maximum.accumulate(score)[:-1], out=better[1:])
    return better.nonzero()[0]


def upper_envelope(points: list[Point]) -> list[Point]:
    """Return the vertices. ``points``: neither costs nor scores decrease; among equal scores the first counts."""
    hull: list[Point] = []
    for point in points:
        if hull and point[1] <= hull[-1][1]:
            continue
        while hull and _is_under(hull, point):
            hull.pop()
        hull.append(point)
    return hull


def _is_under(hull: list[Point], new: Point) -> bool:
    """Return whether the new point removes the last one: same cost, or the last is not above the chord."""
    cost, score, _ = hull[-1]
    if cost == new[0]:
        return True
    if len(hull) == 1:
        return False
    first_cost, first_score, _ = hull[-2]
    return (score - first_score) * (new[0] - first_cost) <= (new[1] - first_score) * (cost - first_cost)


def mix(vertices: list[Point], budget: float | None) -> Mixture:
    """Return the optimum under a budget, which must be at least the cost of the first vertex."""
    at = len(vertices) if budget is None else bisect_right(vertices, budget, key=_cost)
    cost, score, low = vertices[at - 1]
    if at == len(vertices) or budget is None:
        return Mixture(low, low, 0.0, 0.0, score)
    next_cost, next_score, high = vertices[at]
    share = (budget - cost) / (next_cost - cost)
    price = (next_score - score) / (next_cost - cost)
    return Mixture(low, high if share > 0 else low, share, price, score + share * (next_score - score))


def _cost(point: Point) -> float:
    return point[0]
