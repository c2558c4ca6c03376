"""Spend mean budgets on test prompts: our stream by predicted scores and costs, and the policies beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2l.data.measured_scores import MeasuredScores
from p2l.routing import StreamBudget
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import Curve, curves
from p2l.routing.evaluation.routing_evaluation import GeneralScores, budget_range
from p2l.routing.stream_budget_state import StreamBudgetState

ORDERS = 20  # random orders of the stream, seeds 0 to 19
GAIN, OVERDRAFT = 0.03, 30.0  # of the stream; chosen on the prompts to fit of paretobandit
LOG_RANGE = 8.0  # of prices, about the ratio of gains to costs
MIXTURE, ORACLE = "random mixture of single LLMs", "oracle"
NUM_BUDGETS = 6


@dataclass(frozen=True, eq=False)
class Spent:
    """A stream at several budgets.

    Attributes:
        shares: how often each LLM answered each prompt, over the orders.
        over: mean cost over the budget, minus 1, of each order and budget.
    """

    shares: np.ndarray
    over: np.ndarray


def known_prices(score: np.ndarray, cost: np.ndarray, fit: MeasuredScores, budgets: Sequence[float]) -> list[float]:
    """Return the log of the one price that would have spent each budget on the prompts to fit."""
    rows, usual = np.arange(len(fit)), np.ptp(score, axis=1).mean() / np.ptp(cost, axis=1).mean()
    prices = []
    for budget in budgets:
        low, high = np.log(usual) - LOG_RANGE, np.log(usual) + LOG_RANGE
        for _ in range(50):
            middle = (low + high) / 2
            spent = fit.cost[rows, (score - np.exp(middle) * cost).argmax(axis=1)].mean()
            low, high = (middle, high) if spent > budget else (low, middle)
        prices.append(float(high))
    return prices


def stream(
    score: np.ndarray, cost: np.ndarray, true_cost: np.ndarray, budgets: Sequence[float], prices: Sequence[float]
) -> Spent:
    """Run the stream in random orders, with an empty account and the price known from the prompts to fit.

    ``score``: prompts x LLMs, or prompts x readings x LLMs.
    """
    shares, over = np.zeros((len(budgets), *cost.shape)), np.zeros((ORDERS, len(budgets)))
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(score))
        for at, (budget, price) in enumerate(zip(budgets, prices, strict=True)):
            account = StreamBudget(budget, overdraft=OVERDRAFT, gain=GAIN)
            account.state = StreamBudgetState(budget, log_price=price)
            for prompt, model in zip(order, _run(account, order, score, cost, true_cost), strict=True):
                shares[at, prompt, model] += 1 / ORDERS
            over[seed, at] = account.state.mean / budget - 1
    return Spent(shares, over)


def _run(
    account: StreamBudget, order: np.ndarray, score: np.ndarray, cost: np.ndarray, true_cost: np.ndarray
) -> list[int]:
    chosen = []
    for prompt in order:
        spending = account.choose(score[prompt], cost[prompt])
        account.settle(spending, float(true_cost[prompt, spending.model]))
        chosen.append(spending.model)
    return chosen


def default_budgets(fit: MeasuredScores) -> tuple[float, ...]:
    """Return budgets between the cheapest and the best LLM, for a table that comes with none."""
    return tuple(budget_range(GeneralScores.of(fit), NUM_BUDGETS).tolist())


def measure(spent: dict[str, Spent], test: MeasuredScores, budgets: Sequence[float]) -> dict[str, Curve]:
    """Return the curves of the streams, and of two policies that know the test: mixtures of LLMs, and the oracle.

    The mixture is the convex hull of the LLMs' costs and scores on the test itself.
    """
    given, whole = np.array(budgets), GeneralScores.of(test)
    shares = {name: one.shares for name, one in spent.items()}
    shares[MIXTURE] = policies.blind(whole.score, whole.cost, given, len(test))
    shares[ORACLE] = policies.oracle(test)
    return curves(shares, {name: given for name in shares if name != ORACLE}, test)
