"""Scores under a posterior are its quantiles and means, and decisions by them are the optimum of these scores."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import BT, FAMILIES, GRK, RK
from p2l.routing import ScoreRisk, StreamBudget, assign_batch, make_router
from p2l.routing.scores import Opponents
from p2l.routing.shrinkage import Shrinkage
from p2l.types import Ranking

MODELS, HIDDEN = 7, 5


def posterior(num_eta: int, width: float = 1.0, models: int = MODELS) -> HeadPosterior:
    rng = np.random.default_rng(3)
    outputs = models + num_eta
    root = rng.normal(size=(outputs, outputs)) / 4
    return HeadPosterior(
        centre=np.zeros(HIDDEN),
        directions=np.eye(HIDDEN),
        curvature=rng.gamma(1.0, 1.0, HIDDEN),
        output_directions=rng.normal(size=(outputs, outputs)) / 2,
        output_information=rng.gamma(1.0, 10.0, outputs),
        level_covariance=root @ root.T,
        scale=1.3 * width**2,
        residual=0.05 * width**2,
        num_models=models,
    )


def of_head(found: HeadPosterior) -> HeadPosterior:
    return replace(found, residual=0.0)


def rankings(family: Any, prompts: int = 4, spread: float = 1.0) -> Ranking:
    rng = np.random.default_rng(1)
    eta = rng.normal(size=prompts) if family.num_eta else None
    coefs = rng.normal(size=(prompts, MODELS)) * spread
    return Ranking(coefs, eta, None, rng.normal(size=(prompts, HIDDEN)))


def opponents_of(kind: str) -> np.ndarray:
    weights = np.ones(MODELS)
    if kind == "some":
        weights[[0, 3]], weights[5] = 0.0, 4.0
    return weights


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
@pytest.mark.parametrize("family", list(FAMILIES.values()), ids=lambda family: family.name)
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.8])
def test_a_quantile_scores_by_the_quantile_of_the_coefficient(optimizer, family, quantile):
    ranking, found = rankings(family), posterior(family.num_eta)
    covariance = of_head(found).covariance(ranking.states)[:, :MODELS, :MODELS]
    weights = opponents_of("some")
    centre = np.eye(MODELS) - (weights / weights.sum() if optimizer == "optimal-lp" else 0.0)
    deviation = np.sqrt(np.diagonal(centre @ covariance @ centre.T, axis1=1, axis2=2))
    router = make_router(optimizer, family, np.ones(MODELS), weights, risk=quantile, posterior=found)
    assert router.risk is not None
    np.testing.assert_allclose(router.risk.deviations(ranking), deviation, rtol=1e-5)
    moved = ranking.coefs + norm.ppf(quantile) * deviation
    if optimizer != "optimal-lp":
        expected = moved if family.shift_invariant else expit(moved)
    else:
        expected = np.zeros(moved.shape)
        for model, opponent in np.ndindex(MODELS, MODELS):
            eta = () if ranking.eta is None else (ranking.eta,)
            win, _, *ties = np.exp(family.log_probs(moved[:, model], ranking.coefs[:, opponent], *eta)).T
            expected[:, model] += weights[opponent] / weights.sum() * (win + sum(ties) / 2)
    np.testing.assert_allclose(router.scores(ranking), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("optimizer", "family"), [("simple-lp", GRK), ("optimal-lp", BT), ("optimal-lp", GRK)])
@pytest.mark.parametrize("width", [0.3, 1.0])
def test_the_expected_score_is_the_mean_over_the_posterior(optimizer, family, width):
    """Win rates differ by the errors of the opponents, which are taken to average out, and by the interpolation."""
    ranking, found = rankings(family), posterior(family.num_eta, width)
    router = make_router(optimizer, family, np.ones(MODELS), risk="expected", posterior=found)
    estimated = make_router(optimizer, family, np.ones(MODELS))
    mean, plain = np.zeros((4, MODELS)), estimated.scores(ranking)
    for prompt in range(4):
        covariance = of_head(found).covariance(ranking.states[prompt])
        outputs = np.append(ranking.coefs[prompt], [] if ranking.eta is None else ranking.eta[prompt])
        draws = np.random.default_rng(2).multivariate_normal(outputs, covariance, 4000, check_valid="ignore")
        etas = None if ranking.eta is None else draws[:, MODELS]
        mean[prompt] = estimated.scores(Ranking(draws[:, :MODELS], etas)).mean(0)
    error = np.abs(router.scores(ranking) - mean).max()
    most = 0.06 if family is GRK and optimizer == "optimal-lp" else 0.02
    assert error < min(most, np.abs(plain - mean).max())


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp", "optimal-lp"])
@pytest.mark.parametrize("risk", [0.1, 0.9, "expected"])
def test_decisions_are_the_optimum_of_these_scores(optimizer, risk):
    """Whichever models are scored on the way; a batch of prompts is scored like each of them."""
    costs, ranking = np.random.default_rng(4).gamma(1.0, 5.0, MODELS), rankings(GRK)
    router = make_router(optimizer, GRK, costs, risk=risk, posterior=posterior(1))
    every = router.scores(ranking)
    for prompt in range(4):
        one = ranking.map(lambda x, prompt=prompt: x[prompt])
        np.testing.assert_allclose(router.scores(one), every[prompt], rtol=1e-6)
        for budget in (costs.min(), float(np.median(costs)), costs.max()):
            decision = router.decide(one, float(budget), np.random.default_rng(0))
            assert decision.expected_score == pytest.approx(decision.probabilities @ every[prompt], abs=1e-9)
            best = _best(every[prompt], costs, float(budget), mixed=optimizer != "strict")
            assert decision.expected_score == pytest.approx(best, abs=1e-9)
        assert router.ranked(one, None)[0] == every[prompt].argmax()


def _best(score: np.ndarray, cost: np.ndarray, budget: float, *, mixed: bool) -> float:
    within = [i for i in range(len(cost)) if cost[i] <= budget]
    mixtures = [
        score[i] + (budget - cost[i]) / (cost[j] - cost[i]) * (score[j] - score[i])
        for i in within
        for j in range(len(cost))
        if cost[j] > budget and mixed
    ]
    return float(max([*score[within], *mixtures]))


def test_a_lower_bound_distrusts_the_model_that_few_votes_bound():
    """Model 1 seems the best, and nothing is known of it; model 0 is surely good."""
    found = HeadPosterior(
        np.zeros(1), np.eye(1), np.ones(1), np.diag([0.1, 2.0, 0.1]), np.full(3, 5.0), np.zeros((3, 3)), 1.0, 0.0, 3
    )
    ranking = Ranking(np.array([1.0, 1.4, 0.0]), np.array(0.0), None, np.array([2.0]))
    chosen = {
        risk: make_router("simple-lp", GRK, [1, 1, 1], risk=risk, posterior=found)
        .decide(ranking, None, np.random.default_rng(0))
        .model
        for risk in (0.1, 0.9, "expected")
    }
    assert chosen == {0.1: 0, 0.9: 1, "expected": 0}
    near = ranking._replace(states=np.array([0.1]))  # where the votes are
    router = make_router("simple-lp", GRK, [1, 1, 1], risk=0.1, posterior=found)
    assert router.decide(near, None, np.random.default_rng(0)).model == 1
    scores = router.scores(Ranking(*(None if x is None else np.stack((x, x)) for x in ranking)))
    assert assign_batch(scores, np.ones(3)).model.tolist() == [0, 0]
    assert StreamBudget(1.0).choose(scores[0], np.ones(3)).model == 0


def test_extreme_coefficients_stay_finite():
    ranking = rankings(GRK, spread=500.0)
    for risk in (0.01, "expected"):
        router = make_router("optimal-lp", GRK, np.ones(MODELS), risk=risk, posterior=posterior(1, 20.0))
        assert np.isfinite(router.scores(ranking)).all()
    sure = ScoreRisk("expected", np.zeros((HIDDEN, MODELS), dtype=np.float32), np.zeros(MODELS))
    alike = Ranking(np.zeros(MODELS), np.array(0.0), None, np.zeros(HIDDEN))
    np.testing.assert_allclose(sure.scores("optimal-lp", GRK, alike, Opponents.of(np.ones(MODELS))), 0.5)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"risk": 0.0}, "above 0 and below 1"),
        ({"risk": 1}, "above 0 and below 1"),
        ({"risk": float("nan")}, "above 0 and below 1"),
        ({"risk": True}, "got True"),
        ({"posterior": None}, "risk needs the posterior"),
        ({"posterior": posterior(0, models=3)}, "the posterior is of 3 models; the router has 7"),
        ({"shrinkage": Shrinkage("simple-lp", tuple("abcdefg"), np.zeros(7), np.zeros(7), np.eye(7))}, "leave one out"),
        ({"risk": "expected"}, "changes nothing for simple-lp with rk"),
    ],
)
def test_what_cannot_be_meant_is_an_error(more, why):
    with pytest.raises(ConfigError, match=why):
        make_router("simple-lp", RK, np.ones(MODELS), **({"risk": 0.2, "posterior": posterior(1)} | more))


def test_a_ranking_without_states_is_an_error():
    router = make_router("simple-lp", RK, np.ones(MODELS), risk=0.2, posterior=posterior(1))
    with pytest.raises(ConfigError, match="its checkpoint has no posterior"):
        router.scores(rankings(RK)._replace(states=None))
