"""Assign a batch of prompts to models, under a total budget and capacities of the models, with PuLP."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pulp
from jaxtyping import Bool, Float, Float64, Int64

from p2l.errors import ConfigError, InfeasiblePlan
from p2l.routing.envelope import Point, pareto, upper_envelope

log = logging.getLogger(__name__)

TIME_LIMIT = 60.0  # seconds
_FRACTION = 1e-6  # a share further than this from 0 and 1 must be rounded


class Capacity(NamedTuple):
    """Number of prompts of a batch for a model: at least ``least`` and at most ``most``; None: no upper limit."""

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, eq=False)
class BatchAssignment:
    """Which model answers each prompt.

    Attributes:
        model: for each prompt, the index of its model.
        score: the sum over the batch.
        cost: the sum over the batch, at most the budget.
        bound: upper bound on the score of any plan (linear relaxation); rounding loses at most ``bound - score``.
        shadow_price: gain in score for one more unit of budget; 0 if the budget does not bind.
    """

    model: Int64[np.ndarray, " prompts"]
    score: float
    cost: float
    bound: float
    shadow_price: float


def assign_batch(
    scores: Float[np.ndarray, "prompts models"],
    costs: Float[np.ndarray, "*_ models"],
    budget: float | None = None,
    capacities: Mapping[int, Capacity] | None = None,
    *,
    time_limit: float = TIME_LIMIT,
) -> BatchAssignment:
    """Return the assignment with the highest total score within the budget and the capacities.

    The linear relaxation has few fractional prompts, at most one for each row of the budget and the capacities. A small
    integer program assigns these; the others follow the relaxation.

    Args:
        scores: of each prompt on each model.
        costs: one row for all prompts, or one for each.
        budget: of the batch; None: no limit.
        capacities: by model; a model without one takes any number of prompts.
        time_limit: seconds of the solver.

    Raises InfeasiblePlan, naming the constraint, and ConfigError if a number is not finite or no plan is found in time.
    """
    problem = _Problem.of(scores, costs, budget, capacities or {})
    problem.check(time_limit)
    relaxed = problem.relax(time_limit)
    model = problem.round(relaxed.shares, time_limit)
    rows = np.arange(len(model))
    chosen = (float(problem.scores[rows, model].sum()), float(problem.costs[rows, model].sum()))
    return BatchAssignment(model, *chosen, relaxed.value, relaxed.price)


class _Relaxed(NamedTuple):
    shares: Float64[np.ndarray, "prompts models"]
    value: float
    price: float


@dataclass(frozen=True, eq=False)
class _Problem:
    scores: Float64[np.ndarray, "prompts models"]
    costs: Float64[np.ndarray, "prompts models"]
    budget: float | None
    least: Int64[np.ndarray, " models"]
    most: Int64[np.ndarray, " models"]

    @classmethod
    def of(
        cls, scores: np.ndarray, costs: np.ndarray, budget: float | None, capacities: Mapping[int, Capacity]
    ) -> "_Problem":
        num_prompts, num_models = scores.shape
        if not scores.size:
            raise ConfigError(f"at least one prompt and one model are needed; the scores have shape {scores.shape}")
        costs = np.broadcast_to(costs, scores.shape) if costs.shape == (num_models,) else costs
        if costs.shape != scores.shape or not (np.isfinite(costs).all() and np.isfinite(scores).all()):
            raise ConfigError(f"finite scores and costs of shape {scores.shape} or ({num_models},) are needed")
        least, most = np.zeros(num_models, dtype=np.int64), np.full(num_models, num_prompts, dtype=np.int64)
        for model, capacity in capacities.items():
            if not 0 <= model < num_models:
                raise ConfigError(f"capacities: model {model} is not one of the {num_models}")
            least[model] = capacity.least
            most[model] = num_prompts if capacity.most is None else min(capacity.most, num_prompts)
        return cls(scores.astype(np.float64), costs.astype(np.float64), budget, least, most)

    def check(self, time_limit: float) -> None:
        """Raise InfeasiblePlan with the constraint that cannot be met."""
        num_prompts = len(self.scores)
        if (above := np.flatnonzero(self.least > self.most)).size:
            one = int(above[0])
            raise InfeasiblePlan(f"model {one}: least {self.least[one]} is above most {self.most[one]}")
        if self.least.sum() > num_prompts:
            raise InfeasiblePlan(f"the capacities require {self.least.sum()} prompts; there are {num_prompts}")
        if self.most.sum() < num_prompts:
            raise InfeasiblePlan(
                f"the capacities allow at most {self.most.sum()} prompts in all; there are {num_prompts}"
            )
        if self.budget is None:
            return
        free = float(self.costs.min(axis=1).sum())
        if not free <= self.budget:
            raise InfeasiblePlan(f"budget: the cheapest models alone cost {free:g}, above {self.budget:g}")
        if not self._limits():
            return
        least = -_Problem(-self.costs, self.costs, None, self.least, self.most).relax(time_limit).value
        if least > self.budget * (1 + 1e-9):
            raise InfeasiblePlan(
                f"budget: within the capacities the batch costs {least:g} or more, above {self.budget:g} "
                f"(without capacities {free:g}); raise the budget or the capacities of the cheap models"
            )

    def _limits(self) -> bool:
        return bool(self.least.any() or (self.most < len(self.scores)).any())

    def relax(self, time_limit: float) -> _Relaxed:
        """Solve the linear program, in which a prompt may be divided among models."""
        return self._solve(self._useful(), time_limit, whole=False)

    def _useful(self) -> Bool[np.ndarray, "prompts models"]:
        """Return the pairs that an optimum may use: without capacities, those on each prompt's concave envelope."""
        if self._limits():
            return np.ones(self.scores.shape, dtype=bool)
        useful = np.zeros(self.scores.shape, dtype=bool)
        for row, cost, score in zip(useful, self.costs, self.scores):
            order = np.argsort(cost, kind="stable")
            better = order[pareto(score[order])]
            points = [Point(float(cost[model]), float(score[model]), int(model)) for model in better]
            row[[point.model for point in upper_envelope(points)]] = True
        return useful

    def round(self, shares: Float64[np.ndarray, "prompts models"], time_limit: float) -> Int64[np.ndarray, " prompts"]:
        """Assign the divided prompts and keep the others; assign all prompts if that is infeasible."""
        divided = ((shares > _FRACTION) & (shares < 1 - _FRACTION)).any(axis=1)
        if not divided.any():
            return shares.argmax(axis=1)
        open_pairs = np.zeros(shares.shape, dtype=bool)
        open_pairs[np.arange(len(shares)), shares.argmax(axis=1)] = True
        open_pairs[divided] = True
        try:
            return self._solve(open_pairs, time_limit, whole=True).shares.argmax(axis=1)
        except ConfigError:
            log.info("rounding the divided prompts alone is infeasible: solving for all prompts")
        return self._solve(np.ones(shares.shape, dtype=bool), time_limit, whole=True).shares.argmax(axis=1)

    def _solve(self, open_pairs: Bool[np.ndarray, "prompts models"], time_limit: float, *, whole: bool) -> _Relaxed:
        program = pulp.LpProblem("plan", pulp.LpMaximize)
        kind = pulp.LpBinary if whole else pulp.LpContinuous
        pairs = list(zip(*(index.tolist() for index in open_pairs.nonzero())))
        shares = [program.add_variable(f"x_{i}_{j}", 0, 1, kind) for i, j in pairs]
        program += pulp.LpAffineExpression(list(zip(shares, self.scores[open_pairs].tolist())))
        rows: list[list[pulp.LpVariable]] = [[] for _ in self.scores]
        columns: list[list[pulp.LpVariable]] = [[] for _ in self.least]
        for (i, j), share in zip(pairs, shares):
            rows[i].append(share)
            columns[j].append(share)
        for row in rows:
            program += pulp.lpSum(row) == 1
        for j, column in enumerate(columns):
            _bound(program, column, int(self.least[j]), int(self.most[j]), len(rows))
        if self.budget is not None:
            program += (
                pulp.LpAffineExpression(list(zip(shares, self.costs[open_pairs].tolist()))) <= self.budget,
                "budget",
            )
        status = program.solve(solver(time_limit))
        if status != pulp.LpStatusOptimal:
            raise ConfigError(
                f"no plan was found within time_limit={time_limit:g} s ({pulp.LpStatus[status]}); raise time_limit"
            )
        found = np.zeros(self.scores.shape)
        found[open_pairs] = [share.value() for share in shares]
        price = 0.0 if self.budget is None or whole else program.get_constraint_by_name("budget").pi
        return _Relaxed(found, float(pulp.value(program.objective)), abs(float(price)))


def _bound(program: pulp.LpProblem, column: Sequence[pulp.LpVariable], least: int, most: int, size: int) -> None:
    if least > 0:
        program += pulp.lpSum(column) >= least
    if most < size:
        program += pulp.lpSum(column) <= most


def solver(time_limit: float = TIME_LIMIT) -> pulp.LpSolver:
    """Return HiGHS if highspy is installed, else the CBC that comes with PuLP."""
    highs = pulp.HiGHS(msg=False, timeLimit=time_limit)
    if highs.available():
        return highs
    with warnings.catch_warnings():  # PuLP 3.3 warns that CBC will be an extra of PuLP 4
        warnings.simplefilter("ignore", DeprecationWarning)
        return pulp.PULP_CBC_CMD(msg=False, timeLimit=time_limit)
