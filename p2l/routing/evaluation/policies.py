"""Policies that choose models for many prompts over a range of budgets; each returns shares of every prompt."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from p2l.data.measured_scores import MeasuredScores
from p2l.routing.envelope import Mixture, Point, mix, pareto, upper_envelope
from p2l.routing.planner import assign_batch
from p2l.routing.stream_budget import StreamBudget

Shares = Float64[np.ndarray, "budgets prompts models"]  # share of each model in each answer, at each budget
Scores = Float64[np.ndarray, "prompts models"]
Vector = Float64[np.ndarray, " models"]
Costs = Float64[np.ndarray, "*_ models"]  # of all prompts, or of each
Budgets = Float64[np.ndarray, " budgets"]


def per_prompt(score: Scores, cost: Costs, budgets: Budgets) -> Shares:
    """Solve the linear program (``simple-lp`` or ``optimal-lp``, by the scores) with the budget on each prompt."""
    return _each_prompt(score, cost, budgets, lambda points, budget: mix(upper_envelope(points), budget))


def strict(score: Scores, cost: Costs, budgets: Budgets) -> Shares:
    """Choose the best score within the budget on each prompt."""

    def best(points: list[Point], budget: float) -> Mixture:
        model = max(point for point in points if point.cost <= budget).model
        return Mixture(model, model, 0.0, 0.0, 0.0)

    return _each_prompt(score, cost, budgets, best)


def _each_prompt(
    score: Scores, cost: Costs, budgets: Budgets, choose: Callable[[list[Point], float], Mixture]
) -> Shares:
    shares = np.zeros((len(budgets), *score.shape))
    for prompt, (row, own) in enumerate(zip(score, np.broadcast_to(cost, score.shape))):
        order = np.argsort(own, kind="stable")
        models = order[pareto(row[order])]
        points = [Point(float(own[model]), float(row[model]), int(model)) for model in models]
        for at, budget in enumerate(budgets.tolist()):
            mixture = choose(points, max(budget, points[0].cost))
            shares[at, prompt, mixture.high] += mixture.share
            shares[at, prompt, mixture.low] += 1 - mixture.share
    return shares


def stream(score: Scores, cost: Costs, budgets: Budgets, measured: MeasuredScores, seed: int = 0) -> Shares:
    """Run ``StreamBudget`` from a cold start, with the prompts in a random order, each settled at its actual cost."""
    shares, order = np.zeros((len(budgets), *score.shape)), np.random.default_rng(seed).permutation(len(score))
    cost = np.broadcast_to(cost, score.shape)
    for at, budget in enumerate(budgets.tolist()):
        account = StreamBudget(budget)
        for prompt in order:
            spending = account.choose(score[prompt], cost[prompt])
            account.settle(spending, float(measured.cost[prompt, spending.model]))
            shares[at, prompt, spending.model] = 1.0
    return shares


def batch(score: Scores, cost: Costs, budgets: Budgets) -> Shares:
    """Plan all prompts at once under their total budget (``assign_batch``)."""
    cheapest = np.broadcast_to(cost, score.shape).min(axis=1).sum()
    shares, least = np.zeros((len(budgets), *score.shape)), float(cheapest) * (1 + 1e-12)
    for at, budget in enumerate(budgets.tolist()):
        planned = assign_batch(score, cost, max(budget * len(score), least))
        shares[at, np.arange(len(score)), planned.model] = 1.0
    return shares


def blind(mean_score: Vector, cost: Vector, budgets: Budgets, num_prompts: int) -> Shares:
    """Choose the best random mixture of LLMs at each budget, the same for all prompts: the envelope of single LLMs."""
    return np.repeat(per_prompt(_as_row(mean_score), cost, budgets), num_prompts, axis=1)


def single(mean_score: Vector, cost: Vector, budgets: Budgets, num_prompts: int) -> Shares:
    """Choose the best single LLM within each budget, for all prompts."""
    return np.repeat(strict(_as_row(mean_score), cost, budgets), num_prompts, axis=1)


def _as_row(mean_score: Vector) -> Scores:
    return np.where(np.isfinite(mean_score), mean_score, -1e9)[None]  # an LLM without a known score is not chosen


def oracle(measured: MeasuredScores, num_points: int = 24) -> Shares:
    """Choose argmax score - price x cost by measured scores and costs, from price 0 to one that leaves the cheapest."""
    gap = float(np.ptp(measured.cost, axis=1).mean()) or 1.0  # 0: all cost the same, and no price changes a choice
    prices = np.append(np.geomspace(1e-3, 1e3, num_points) / gap, 0.0)[::-1]
    known = measured.score * (measured.weight > 0)
    shares = np.zeros((len(prices), *known.shape))
    for at, price in enumerate(prices):
        value = known - max(price, 1e-12) * measured.cost  # among equal scores the cheaper
        shares[at, np.arange(len(known)), value.argmax(axis=1)] = 1.0
    return shares
