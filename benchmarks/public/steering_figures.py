"""Figures of an attack: the dearest LLM's share, cost and score, with intervals over prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from attacked_router import AttackedRouter
from spend_budgets import stream

from p2l.data.measured_scores import MeasuredScores
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums


@dataclass(frozen=True)
class Steered:
    """What an attack does to a policy.

    Attributes:
        dearest: share of the answers by the dearest LLM.
        moved: share that the attack moves to it, of the prompts that did not go there.
        cost: mean cost over that of the policy without attack and defence; 1 is no change.
        score: mean score minus that of the policy without attack and defence.
    """

    dearest: Interval
    moved: Interval
    cost: Interval
    score: Interval


def steered(clean: np.ndarray, attacked: Sequence[np.ndarray], dearest: int, measured: MeasuredScores) -> Steered:
    """Compare the shares (prompts x LLMs) of a policy with those under each string of an attack, and average these.

    The answers are those to the prompts without a string: what a string does to an answer was not measured.
    """
    base, mean = clean[:, dearest], np.mean([one[:, dearest] for one in attacked], axis=0)
    moved = np.mean([np.maximum(one[:, dearest] - base, 0.0) for one in attacked], axis=0)
    shares = np.mean(attacked, axis=0)
    columns = [mean, moved, 1 - base, *(_means(one, measured) for one in (shares, clean))]
    table = np.column_stack(columns)
    (drawn,) = resampled_sums(table)
    whole, size = np.concatenate((table.sum(axis=0, keepdims=True), drawn)), len(table)
    with np.errstate(invalid="ignore", divide="ignore"):  # a policy may send every prompt to the dearest LLM
        draws = (
            whole[:, 0] / size,
            whole[:, 1] / whole[:, 2],
            whole[:, 3] / whole[:, 5],
            (whole[:, 4] - whole[:, 6]) / size,
        )
    return Steered(*(percentile_interval(one[0], one[1:]) for one in draws))


def _means(shares: np.ndarray, measured: MeasuredScores) -> np.ndarray:
    """Return the cost and the score of each prompt."""
    return np.stack([(shares * one).sum(axis=1) for one in (measured.cost, measured.score)], axis=1)


@dataclass(frozen=True)
class SharedBudget:
    """A stream budget, some of whose prompts are attacked.

    Attributes:
        over: mean cost over the budget, minus 1, mean over the orders.
        others: mean score of the prompts that are not attacked, minus their score if none is; None: all are.
        others_cost: their mean cost over the same without attack.
        attacked: share of the attacked prompts that go to the dearest LLM.
    """

    over: float
    others: Interval | None
    others_cost: float | None
    attacked: float


def shared_budget(
    target: AttackedRouter, clean: np.ndarray, attacked: np.ndarray, share: float, measured: MeasuredScores
) -> SharedBudget:
    """Attack a share of the prompts of a stream, the same in each order.

    ``clean``, ``attacked``: scores of prompts x readings x LLMs.
    """
    hit = np.random.default_rng(0).permutation(len(measured)) < round(share * len(measured))
    cost = np.tile(target.cost, (len(measured), 1))
    found = [
        stream(score, cost, measured.cost, [target.budget], [float(np.log(target.price))])
        for score in (clean, np.where(hit[:, None, None], attacked, clean))
    ]
    before, after = (_means(one.shares[0], measured)[~hit] for one in found)
    over, dearest = float(found[1].over.mean()), float(found[1].shares[0][hit, target.dearest].mean())
    if hit.all():
        return SharedBudget(over, None, None, dearest)
    change = (after - before)[:, 1]
    (drawn,) = resampled_sums(change[:, None])
    lost = percentile_interval(change.mean(), drawn[:, 0] / len(change))
    return SharedBudget(over, lost, float(after[:, 0].mean() / before[:, 0].mean()), dearest)
