"""Decisions are the optimum of their linear program, cost what the budget allows, and say when they cannot be made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pulp
import pytest
import torch
from scipy.special import expit

from p2l.errors import ConfigError, DataError, InfeasibleBudget
from p2l.outcomes import BT, FAMILIES, GRK
from p2l.routing import Optimizer, Router, make_router
from p2l.routing.planner import solver
from p2l.routing.scores import Opponents, win_rates
from p2l.types import Ranking


@dataclass(frozen=True)
class Instance:
    """Models with coefficients and costs, and a budget."""

    coefs: np.ndarray
    costs: np.ndarray
    budget: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Instance":
        """2 to 300 models, often with ties, equal costs, costs of 0, or a budget that is one of the costs."""
        size = int(rng.integers(2, 301 if rng.random() < 0.3 else 30))
        coefs, costs = rng.normal(size=size) * rng.choice([0.1, 1, 5]), rng.gamma(0.5, 10, size)
        if rng.random() < 0.4:
            coefs = coefs.round(1)
        if rng.random() < 0.4:
            costs = costs.round(rng.integers(0, 2))
        cheapest, dearest = costs.min(), costs.max()
        edges = [cheapest, dearest, float(rng.choice(costs)), dearest + 1.0]
        budget = rng.choice(edges) if rng.random() < 0.4 else rng.uniform(cheapest, dearest)
        return cls(coefs, costs, float(budget))

    def decide(self, router: Router) -> tuple[float, float, float]:
        decision = router.decide(Ranking(torch.from_numpy(self.coefs), None), self.budget, np.random.default_rng(0))
        probabilities = decision.probabilities
        assert abs(probabilities.sum() - 1) < 1e-12 and probabilities.min() >= 0
        assert np.count_nonzero(probabilities) <= 2 and probabilities[decision.model] > 0
        assert decision.expected_score == pytest.approx(probabilities @ decision.scores, abs=1e-9)
        assert decision.expected_cost == pytest.approx(probabilities @ self.costs, abs=1e-9)
        return decision.expected_score, decision.expected_cost, decision.shadow_price


def solve(problems: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> list[float]:
    """The optimum of each linear program (scores, costs, budget) by PuLP, which gets all of them as one program."""
    program = pulp.LpProblem("route", pulp.LpMaximize)
    shares = [
        [program.add_variable(f"p{number}_{i}", lowBound=0) for i in range(len(scores))]
        for number, (scores, _, _) in enumerate(problems)
    ]
    program += pulp.lpSum(pulp.lpDot(scores.tolist(), own) for own, (scores, _, _) in zip(shares, problems))
    for own, (_, costs, budget) in zip(shares, problems):
        program += pulp.lpSum(own) == 1
        program += pulp.lpDot(costs.tolist(), own) <= budget
    assert pulp.LpStatus[program.solve(solver())] == "Optimal"
    supports = [[i for i, share in enumerate(own) if share.value() > 1e-9] for own in shares]
    return [refine(support, *problem) for support, problem in zip(supports, problems)]


def refine(support: list[int], scores: np.ndarray, costs: np.ndarray, budget: float) -> float:
    """The best vertex within the support that was found, in full precision: CBC writes its shares with few digits."""
    within = [i for i in support if costs[i] <= budget]
    mixed = [_mix(scores, costs, budget, i, j) for i in within for j in support if costs[j] > budget]
    return float(max(*scores[within], *mixed, -np.inf))


def _mix(scores: np.ndarray, costs: np.ndarray, budget: float, low: int, high: int) -> float:
    share = (budget - costs[low]) / (costs[high] - costs[low])
    return scores[low] + share * (scores[high] - scores[low])


@pytest.mark.parametrize("optimizer", ["simple-lp", "optimal-lp"])
def test_value_is_the_optimum_of_pulp(optimizer):
    rng = np.random.default_rng(0)
    assert max(distances_to_pulp(optimizer, [Instance.draw(rng) for _ in range(40)])) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "seed"), [("simple-lp", 1), ("optimal-lp", 2)])
def test_value_is_the_optimum_of_pulp_in_10_000_instances(optimizer, seed):
    rng = np.random.default_rng(seed)
    instances = [Instance.draw(rng) for _ in range(5000)]
    distances = distances_to_pulp(optimizer, instances)
    assert len(distances) == 5000
    assert max(distances) < 1e-9, f"{np.argmax(distances)}: {max(distances)}"


def distances_to_pulp(optimizer: Optimizer, instances: list[Instance], together: int = 50) -> list[float]:
    """How far the value of each decision lies from PuLP's optimum."""
    values, problems = [], []
    for instance in instances:
        router = make_router(optimizer, BT, instance.costs)
        value, cost, price = instance.decide(router)
        scores = router.scores(Ranking(torch.from_numpy(instance.coefs), None))
        assert cost <= instance.budget * (1 + 1e-12)
        if instance.budget >= instance.costs.max():
            assert price == 0 and value == pytest.approx(scores.max(), rel=1e-12)
        values.append(value)
        problems.append((scores, instance.costs, instance.budget))
    blocks = (problems[start : start + together] for start in range(0, len(problems), together))
    optima = [optimum for block in blocks for optimum in solve(block)]
    return [abs(value - optimum) for value, optimum in zip(values, optima, strict=True)]


def test_by_hand():
    """Costs 1, 2, 4 and coefficients 0, 3, 4: at 3 half of the second and half of the third, 1/2 nat a unit."""
    ranking, rng = Ranking(torch.tensor([0.0, 3.0, 4.0]), None), np.random.default_rng(0)
    decision = make_router("simple-lp", BT, [1, 2, 4]).decide(ranking, 3.0, rng)
    np.testing.assert_allclose(decision.probabilities, [0, 0.5, 0.5])
    assert (decision.expected_cost, decision.expected_score, decision.shadow_price) == (3.0, 3.5, 0.5)
    strict = make_router("strict", BT, [1, 2, 4]).decide(ranking, 3.0, rng)
    assert (strict.model, strict.expected_cost, strict.expected_score) == (1, 2.0, 3.0)
    frontier = make_router("simple-lp", BT, [1, 2, 4]).frontier(ranking)
    assert frontier.model.tolist() == [0, 1, 2] and frontier.score.tolist() == [0, 3, 4]


def test_the_draw_is_of_the_probabilities_and_seeded():
    ranking, router = Ranking(torch.tensor([0.0, 1.0]), None), make_router("simple-lp", BT, [0, 1])
    rng = np.random.default_rng(0)
    drawn = [router.decide(ranking, 0.3, rng).model for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.02)
    rng = np.random.default_rng(0)
    assert drawn == [router.decide(ranking, 0.3, rng).model for _ in range(4000)]


def test_without_a_budget_the_best_and_of_equals_the_cheapest():
    ranking, rng = Ranking(torch.tensor([1.0, 2.0, 2.0, 0.0]), None), np.random.default_rng(0)
    for optimizer in ("strict", "simple-lp", "optimal-lp"):
        router = make_router(optimizer, BT, [1, 9, 5, 3])
        for budget in (None, 5.0, np.inf):
            decision = router.decide(ranking, budget, rng)
            assert decision.model == 2 and decision.shadow_price == 0 and decision.expected_cost == 5


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
def test_the_cheapest_model_is_the_edge(optimizer):
    router, rng = make_router(optimizer, BT, [3.0, 2.0, 2.0]), np.random.default_rng(0)
    ranking = Ranking(torch.tensor([1.0, 0.5, 0.0]), None)
    assert router.decide(ranking, 2.0, rng).model == 1
    with pytest.raises(InfeasibleBudget, match="the cheapest, model 1, costs 2") as caught:
        router.decide(ranking, np.nextafter(2.0, 0), rng)
    assert caught.value.cheapest == 1 and caught.value.budget < 2
    with pytest.raises(InfeasibleBudget):
        router.decide(ranking, float("nan"), rng)


def test_one_model():
    decision = make_router("optimal-lp", BT, [2.0]).decide(
        Ranking(torch.tensor([7.0]), None), 2.0, np.random.default_rng()
    )
    assert (decision.model, decision.expected_score, decision.strength) == (0, 0.5, 7.0)


def test_masked_models_are_never_chosen_but_may_be_opponents():
    ranking, rng = Ranking(torch.tensor([3.0, 1.0, 2.0]), None), np.random.default_rng(0)
    router = make_router("optimal-lp", BT, [1, 1, 2], opponents=[1, 0, 0])
    mask = np.array([False, True, True])
    decision = router.decide(ranking, 1.5, rng, mask)
    np.testing.assert_allclose(decision.probabilities, [0, 0.5, 0.5])
    np.testing.assert_allclose(decision.scores, [np.nan, expit(-2), expit(-1)])
    assert router.ranked(ranking, None, mask).tolist() == [2, 1]
    assert router.ranked(ranking, 1.0).tolist() == [0, 1]
    assert router.ranked(ranking, 0.5).tolist() == []
    assert router.frontier(ranking, mask).model.tolist() == [1, 2]
    with pytest.raises(ConfigError, match="leaves no model"):
        router.decide(ranking, None, rng, np.zeros(3, dtype=bool))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_win_rates_of_every_family(family):
    """W q from the outcome probabilities, ties half; the weights are normalised; scores rise with coefficients."""
    rng = np.random.default_rng(0)
    coefs, weights = torch.from_numpy(rng.normal(size=9)), rng.integers(0, 4, 9).astype(float)
    eta = torch.tensor(0.3, dtype=torch.float64) if family.num_eta else None
    probs = family.log_probs(coefs[:, None], coefs[None], eta).exp().numpy()
    wins = probs[..., 0] + probs[..., 2:].sum(-1) / 2
    np.testing.assert_allclose(wins + wins.T, 1)
    router = make_router("optimal-lp", family, np.ones(9), weights)
    np.testing.assert_allclose(router.scores(Ranking(coefs, eta)), wins @ weights / weights.sum())
    for optimizer in ("strict", "simple-lp", "optimal-lp"):
        scores = make_router(optimizer, family, np.ones(9)).scores(Ranking(coefs, eta))
        np.testing.assert_array_equal(np.argsort(scores), coefs.argsort().numpy())


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("weights", [np.ones(40), np.arange(40.0)], ids=["all", "some"])
@pytest.mark.parametrize("spread", [1.0, 400.0])
def test_the_score_of_a_few_models_is_that_among_all(family, weights, spread):
    """On one prompt and in a batch, whose prompts are scored a few at a time."""
    rng = np.random.default_rng(0)
    coefs, eta = rng.normal(size=(150, 40)) * spread, rng.normal(size=150) if family.num_eta else None
    rankings, opponents, few = Ranking(coefs, eta), Opponents.of(weights), np.array([3, 39, 0])
    every = win_rates(family, rankings, opponents)
    np.testing.assert_allclose(win_rates(family, rankings, opponents, few), every[:, few], rtol=1e-12, atol=1e-15)
    for prompt in (0, 77, 149):
        one = rankings.map(lambda x: x[prompt])  # noqa: B023
        np.testing.assert_allclose(win_rates(family, one, opponents), every[prompt], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(win_rates(family, one, opponents, few), every[prompt, few], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("spread", [1.0, 1000.0])
def test_scores_are_those_of_the_families_in_torch(family, spread):
    rng = np.random.default_rng(1)
    coefs, eta = torch.from_numpy(rng.normal(size=30) * spread), torch.tensor(0.7, dtype=torch.float64)
    ranking = Ranking(coefs, eta if family.num_eta else None)
    probs = family.log_probs(coefs[:, None], coefs[None], ranking.eta).exp()
    rates = (probs[..., 0] + probs[..., 2:].sum(-1) / 2).mean(-1).numpy()
    published = coefs if family.shift_invariant else coefs.sigmoid()
    for optimizer, expected in (("optimal-lp", rates), ("simple-lp", published.numpy())):
        found = make_router(optimizer, family, np.ones(30)).scores(ranking)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
@pytest.mark.parametrize("family", [BT, GRK], ids=["bt", "grk"])
@pytest.mark.parametrize(
    "tensor",
    [
        lambda x: torch.from_numpy(x),
        lambda x: torch.from_numpy(x).requires_grad_(),
        lambda x: torch.from_numpy(x).bfloat16(),
    ],
    ids=["float64", "with gradient", "bfloat16"],
)
def test_tensors_are_routed_as_arrays(optimizer, family, tensor):
    coefs, costs = np.arange(-8.0, 8.0) / 4, np.arange(16.0) % 7
    eta = np.array(0.5) if family.num_eta else None
    ranking = Ranking(coefs, eta)
    router, decided = make_router(optimizer, family, costs), []
    for one in (ranking, ranking.map(tensor)):
        decision = router.decide(one, 2.5, np.random.default_rng(0))
        ranked = router.ranked(one, 4.0).tolist()
        decided.append((decision.model, decision.expected_score, decision.strength, ranked, decision.scores.tolist()))
    assert decided[0] == decided[1]


def test_scores_as_published():
    """The published router maximises coefficients for bt and sigmoid(coefficients) for grounded Rao-Kupper."""
    coefs = torch.tensor([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(make_router("simple-lp", BT, [1, 1, 1]).scores(Ranking(coefs, None)), coefs)
    scores = make_router("strict", GRK, [1, 1, 1]).scores(Ranking(coefs, torch.tensor(0.0)))
    np.testing.assert_allclose(scores, expit(coefs.double().numpy()))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("spread", [0.1, 2.0, 300.0])
def test_the_routers_own_coefficient_wins_as_often_as_the_mixture(family, spread):
    rng = np.random.default_rng(3)
    coefs = torch.from_numpy(rng.normal(size=20) * spread)
    ranking = Ranking(coefs, torch.tensor(0.5, dtype=torch.float64) if family.num_eta else None)
    costs, weights = np.exp(coefs.argsort().argsort().numpy() / 4), rng.random(20)
    decision = make_router("optimal-lp", family, costs, weights).decide(ranking, float(costs.max() * 0.7), rng)
    assert decision.strength is not None and np.count_nonzero(decision.probabilities) == 2
    probs = family.log_probs(torch.full_like(coefs, decision.strength), coefs, ranking.eta).exp().numpy()
    rate = (probs[:, 0] + probs[:, 2:].sum(-1) / 2) @ weights / weights.sum()
    assert rate == pytest.approx(decision.expected_score, abs=1e-9)


def test_strength_of_a_single_opponent_by_hand():
    """Against one opponent of coefficient 0, 40 % of sigmoid(0) and 60 % of sigmoid(1): the logit of the mixture."""
    router = make_router("optimal-lp", BT, [0, 1], opponents=[1, 0])
    decision = router.decide(Ranking(torch.tensor([0.0, 1.0]), None), 0.6, np.random.default_rng(0))
    rate = 0.4 * 0.5 + 0.6 * expit(1)
    assert decision.strength == pytest.approx(np.log(rate / (1 - rate)), abs=1e-11)
    assert make_router("simple-lp", BT, [0, 1]).decide(decision.ranking, 0.6, np.random.default_rng(0)).strength is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_bad_costs_and_weights_are_rejected(bad):
    with pytest.raises(ConfigError, match="model 1"):
        make_router("strict", BT, [1.0, bad])
    with pytest.raises(ConfigError, match="opponents"):
        make_router("optimal-lp", BT, [1.0, 1.0], [1.0, bad])


def test_bad_parts_are_rejected():
    with pytest.raises(ConfigError, match="at least one"):
        make_router("strict", BT, [])
    with pytest.raises(ConfigError, match="2 weights with a positive sum"):
        make_router("optimal-lp", BT, [1.0, 1.0], [0.0, 0.0])
    router, rng = make_router("strict", BT, [1.0, 1.0]), np.random.default_rng(0)
    with pytest.raises(ConfigError, match="2 models"):
        router.decide(Ranking(torch.zeros(3), None), None, rng)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="model 1 is not finite"):
            router.decide(Ranking(torch.tensor([0.0, bad]), None), None, rng)
