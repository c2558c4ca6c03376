"""What changes while a router serves: a new LLM, a price that drops, an LLM that becomes worse without a word.

The share of the LLM's choices is right from the step after which its mean over the last 100 requests and all orders
stays within 0.1 of that of a full-information router for the world after the change.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from online_stream import Learner, Run, Traffic

from p2l.statistics.bootstrap import resampled_rows
from p2l.statistics.intervals import mean_interval

AT, WINDOW, NEAR = 600, 100, 0.1
RESAMPLES = 500
Kind = Literal["new", "price", "worse"]


@dataclass(frozen=True)
class Change:
    """One scenario.

    Attributes:
        name: what is printed.
        kind: what happens to ``model``.
        factor: of its price or reward after the change.
        memory: of the learners, in pieces of feedback.
    """

    name: str
    kind: Kind
    model: str
    layout: str
    budget: float
    factor: float = 1.0
    memories: tuple[float | None, ...] = (500.0, None)


CHANGES = (
    Change("a new LLM", "new", "google/gemini-2.5-flash", "paretobandit_k4", 1.88e-3),
    Change("a price drops to a tenth", "price", "google/gemini-2.5-pro", "paretobandit", 1.88e-3, 0.1),
    Change("an LLM earns 0.6 as much", "worse", "mistralai/mistral-large-2512", "paretobandit", 6.64e-4, 0.6),
)


def changed(traffic: Traffic, change: Change, model: int, first: int) -> Traffic:
    """Return the traffic whose rows from ``first`` on are those after the change."""
    reward, cost = traffic.reward.copy(), traffic.cost.copy()
    if change.kind == "worse":
        reward[first:, model] *= change.factor
    if change.kind == "price":
        cost[first:, model] *= change.factor
    return Traffic(traffic.features, reward, cost)


def cheaper(learner: Learner, model: int, factor: float) -> Learner:
    """Tell the learner a new price: all its costs of the LLM scale."""
    learner = learner.copy()
    learner.costs.mean[model, 0] += np.log(factor)
    return learner


def shares(runs: list[Run], model: int) -> np.ndarray:
    """Return how often each order chose the LLM in the last requests before each step."""
    chosen = np.stack([one.model == model for one in runs]).astype(np.float64)
    sums = np.cumsum(np.pad(chosen, ((0, 0), (1, 0))), axis=1)
    return (sums[:, WINDOW:] - sums[:, :-WINDOW]) / WINDOW  # entry i: requests i to i + WINDOW


def steps_until_right(share: np.ndarray, target: float) -> float:
    """Return the steps after the change from which the mean share stays near the target; infinite if it never does."""
    wrong = np.flatnonzero(np.abs(share[:, AT - WINDOW :].mean(0) - target) > NEAR)
    last = int(wrong[-1]) + 1 if len(wrong) else 0
    return float("inf") if last >= share.shape[1] - (AT - WINDOW) else float(last)


def interval_of_steps(share: np.ndarray, target: float) -> str:
    drawn = [steps_until_right(share[rows], target) for rows in resampled_rows(len(share), None, RESAMPLES, 0)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return f"{steps_until_right(share, target):.0f} [{low:.0f}, {high:.0f}]"


def row(name: str, runs: list[Run], model: int, target: list[Run]) -> str:
    """Return a line: steps until right, share at the end, rewards after the change beside full information."""
    share, right = shares(runs, model), np.stack([one.model == model for one in target])[:, AT:].mean()
    gap = np.array([a.reward[AT:].mean() - b.reward[AT:].mean() for a, b in zip(runs, target, strict=True)])
    low, high = mean_interval(gap, 0.95)
    cost = np.mean([one.cost[AT:].mean() for one in runs]) / np.mean([one.cost[AT:].mean() for one in target]) - 1
    return (
        f"| {name} | {interval_of_steps(share, right)} | {share[:, -1].mean():.2f} ({right:.2f}) | "
        f"{gap.mean():+.4f} [{low:+.4f}, {high:+.4f}] | {cost:+.1%} |"
    )
