"""Curves of routing policies on prompts whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError, DataError
from p2l.outcomes import GRK
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import curves
from p2l.routing.evaluation.routing_evaluation import GeneralScores, RoutingCurves, evaluate_routing, route_scores
from p2l.types import Ranking


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, MeasuredScores]:
    """The probability of a right answer, and answers: three LLMs of cost 1, 3 and 10, of which two are specialists."""
    rng = np.random.default_rng(0)
    topic = rng.integers(2, size=600)
    chance = np.stack([np.full(600, 0.4), np.where(topic, 0.9, 0.4), np.where(topic, 0.9, 0.8)], axis=1)
    score = (rng.random(chance.shape) < chance).astype(np.float64)
    cost = np.array([1.0, 3.0, 10.0]) * rng.uniform(0.8, 1.2, chance.shape)
    prompts = tuple((f"prompt {i}",) for i in range(600))
    return chance, MeasuredScores(("small", "middle", "large"), prompts, score, np.ones(score.shape), cost)


@pytest.fixture(scope="module")
def found(truth) -> RoutingCurves:
    chance, measured = truth
    return evaluate_routing(chance, GeneralScores.of(measured), measured, num_budgets=6)


def test_routing_beats_single_models_and_an_oracle_beats_all(found):
    summary = found.summary()
    assert summary["best_single"]["model"] == "large"
    area = {
        name: summary[name]["area"]["value"]
        for name in ("stream", "batch", "per-prompt LP", "single mixture", "oracle")
    }
    assert area["oracle"] > area["batch"] > area["per-prompt LP"] > area["single mixture"]
    assert area["stream"] == pytest.approx(area["batch"], abs=0.02)
    assert summary["single mixture"]["stream_area_minus_this"]["low"] > 0


def test_shrunk_scores_are_shown_beside_the_others(truth):
    """By general scores alone the stream is a mixture of single LLMs, nearly the best one alone at the cost of that."""
    _, measured = truth
    general = np.broadcast_to(measured.mean_score(), measured.score.shape).copy()
    noise = general + np.random.default_rng(0).normal(size=general.shape)
    summary = evaluate_routing(noise, GeneralScores.of(measured), measured, num_budgets=3, shrunk=general).summary()
    assert summary["stream"]["minus_best_single"]["high"] < -0.01
    assert summary["conservative stream"]["minus_best_single"]["value"] == pytest.approx(0, abs=0.01)
    assert summary["conservative stream"]["area"] != summary["stream"]["area"]
    assert summary["conservative LP"]["area"]["value"] == pytest.approx(summary["single mixture"]["area"]["value"])


def test_the_stream_meets_its_targets_and_is_compared_at_equal_cost(found):
    points = found.summary()["equal_cost"]
    assert all(point["over_target"] < 0.03 for point in points)
    assert all(point["over_target"] > -0.03 for point in points[:4])  # beyond, the best models cost less
    for point in points:
        interval = point["minus best affordable single"]
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_every_policy_keeps_its_expected_budget(truth):
    chance, _ = truth
    cost, budgets = np.array([1.0, 3.0, 10.0]), np.array([1.0, 2.0, 5.0, 20.0])
    for policy in (policies.per_prompt, policies.strict, policies.batch):
        shares = policy(chance, cost, budgets)
        np.testing.assert_allclose(shares.sum(axis=2), 1)
        assert ((shares @ cost).mean(axis=1) <= budgets + 1e-9).all()
    alone = policies.single(np.array([0.4, np.nan, 0.8]), cost, budgets, 2)
    np.testing.assert_array_equal(alone.argmax(axis=2), [[0, 0], [0, 0], [0, 0], [2, 2]])


def test_a_curve_is_read_between_its_points(truth):
    """All prompts to one LLM: the mean score and cost of its answers; half way between two, the mean of both."""
    _, measured = truth
    shares = policies.single(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 10.0]), np.array([1.0, 10.0]), 600)
    curve = curves({"single": shares}, {}, measured)["single"]
    np.testing.assert_allclose(curve.cost[0], measured.cost.mean(axis=0)[[0, 2]])
    np.testing.assert_allclose(curve.quality[0], measured.score.mean(axis=0)[[0, 2]])
    np.testing.assert_allclose(curve.at([curve.cost[0].mean()])[0], curve.quality[0].mean())
    table = curve.table()
    spread = 1.96 * measured.score[:, 0].std() / np.sqrt(600)
    assert table.quality_high[0] - table.quality_low[0] == pytest.approx(2 * spread, rel=0.15)
    assert curve.area(1.0, 10.0).shape == (len(curve.cost),)


def test_choices_without_a_known_score_are_reported(truth):
    _, measured = truth
    unknown = MeasuredScores(
        measured.models, measured.prompts, measured.score, np.zeros_like(measured.weight), measured.cost
    )
    with pytest.raises(ConfigError, match="no answer that it chose has a known score"):
        curves({"stream": np.ones((1, 600, 3)) / 3}, {}, unknown)
    with pytest.raises(DataError, match="no LLM has a score"):
        evaluate_routing(measured.score, GeneralScores.of(unknown), unknown)


def test_scores_of_many_rankings_are_those_of_each():
    generator = torch.Generator().manual_seed(0)
    rankings = Ranking(torch.randn(7, 4, generator=generator), torch.randn(7, generator=generator))
    found = route_scores("optimal-lp", GRK, rankings, [0, 2])
    for i in range(7):
        one = Ranking(rankings.coefs[i : i + 1], rankings.eta[i : i + 1])
        np.testing.assert_allclose(route_scores("optimal-lp", GRK, one, [0, 2])[0], found[i])
    with pytest.raises(DataError, match="not finite"):
        route_scores("simple-lp", GRK, Ranking(torch.full((1, 2), torch.nan), torch.zeros(1)), [0, 1])


@pytest.mark.parametrize("cost", [0.0, 2.0])
def test_an_oracle_of_llms_that_cost_the_same_takes_the_best(truth, cost):
    _, measured = truth
    alike = replace(measured, cost=np.full(measured.cost.shape, cost))
    for share in policies.oracle(alike):
        np.testing.assert_array_equal(share.argmax(axis=1), measured.score.argmax(axis=1))
