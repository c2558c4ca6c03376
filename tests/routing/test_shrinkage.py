"""Shrunk scores keep what predictions explain on other prompts: all of a perfect one, nothing of noise."""

import json

import numpy as np
import pytest
import torch

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import ConfigError, DataError
from p2l.outcomes import BT
from p2l.routing import make_router
from p2l.routing.scores import Opponents, win_rates
from p2l.routing.shrinkage import Shrinkage
from p2l.routing.shrinkage_fit import fit_shrinkage
from p2l.types import Ranking

MODELS = ("a", "b", "c")


def table(score: np.ndarray, weight: np.ndarray | None = None) -> MeasuredScores:
    models = tuple("abcdefghijklmnop"[: score.shape[1]])
    prompts = tuple((f"prompt {i}",) for i in range(len(score)))
    return MeasuredScores(
        models, prompts, score, np.ones(score.shape) if weight is None else weight, np.ones(score.shape)
    )


def arena(rng: np.random.Generator, num_prompts: int, signal: float, noise: float) -> tuple[np.ndarray, MeasuredScores]:
    """Predictions and right answers of one good LLM and seven that are worse by 0.1, all alike but for ``signal``."""
    chance = np.full((num_prompts, 8), 0.6)
    chance[:, 0] = 0.7
    chance += signal * rng.normal(size=chance.shape)
    predicted = chance / 2 + noise * rng.normal(size=chance.shape)
    return predicted, table((rng.random(chance.shape) < chance).astype(np.float64))


def test_a_known_slope_is_recovered():
    rng = np.random.default_rng(0)
    slope = np.array([[2.0, 0.0, -0.5], [0.0, 1.0, 0.0], [0.0, 0.5, 0.0]])
    predicted = rng.normal(0.5, 1.0, (4000, 3))
    score = np.array([0.1, 0.7, 0.4]) + (predicted - predicted.mean(0)) @ slope.T + 0.3 * rng.normal(size=(4000, 3))
    found = fit_shrinkage("optimal-lp", predicted, table(score))
    np.testing.assert_allclose(found.slope, slope, atol=0.03)
    np.testing.assert_allclose(found.prior, score.mean(0))
    np.testing.assert_allclose(found.center, predicted.mean(0))
    np.testing.assert_allclose(found(found.center), found.prior)


def test_noise_is_shrunk_to_the_prior():
    """Predictions spread by 0.2; what is left of them is a tenth of that or less."""
    predicted, measured = arena(np.random.default_rng(0), 2000, signal=0.0, noise=0.2)
    shrunk = fit_shrinkage("optimal-lp", predicted, measured)(predicted)
    assert (shrunk - measured.mean_score()).std() < 0.02 < predicted.std() / 5
    assert (shrunk.argmax(axis=1) == 0).mean() > 0.99


@pytest.mark.parametrize(("signal", "gain"), [(0.0, 0.0), (0.05, 0.0), (0.15, 0.01)])
def test_the_argmax_of_shrunk_scores_is_not_below_the_best_llm(signal, gain):
    """That of the predictions is, unless they tell much: they err by 0.2 on the scale of chances."""
    rng = np.random.default_rng(1)
    shrinkage = fit_shrinkage("optimal-lp", *arena(rng, 2000, signal, 0.1))
    predicted, measured = arena(rng, 20_000, signal, 0.1)
    rows, best = np.arange(20_000), measured.mean_score()[0]
    plain = measured.score[rows, predicted.argmax(axis=1)].mean()
    shrunk = measured.score[rows, shrinkage(predicted).argmax(axis=1)].mean()
    assert plain < best - 0.01 or signal > 0.1
    assert shrunk > max(best + gain - 0.002, plain)


def test_few_prompts_tell_one_slope_for_all():
    """A slope of each LLM on each would be 64 numbers."""
    rng = np.random.default_rng(4)
    predicted, measured = arena(rng, 150, signal=0.15, noise=0.03)
    found = fit_shrinkage("optimal-lp", predicted, measured)
    off = found.slope[~np.eye(8, dtype=bool)]
    assert np.abs(off).max() < 0.15 and 1.2 < np.diag(found.slope).mean() < 2.5  # chances are twice the predictions
    fresh, truth = arena(rng, 20_000, signal=0.15, noise=0.03)
    gain = truth.score[np.arange(20_000), found(fresh).argmax(axis=1)].mean() - truth.mean_score()[0]
    assert gain > 0.05


def test_general_scores_of_more_prompts_are_the_prior():
    predicted, measured = arena(np.random.default_rng(5), 100, signal=0.0, noise=0.1)
    general = np.where(np.arange(8) == 3, np.nan, np.linspace(0.2, 0.9, 8))
    found = fit_shrinkage("optimal-lp", predicted, measured, general)
    own = fit_shrinkage("optimal-lp", predicted, measured)
    np.testing.assert_array_equal(found.slope, own.slope)
    np.testing.assert_array_equal(found.prior, np.where(np.isnan(general), own.prior, general))


def test_unknown_scores_are_left_out_and_weights_are_numbers_of_equal_rows():
    rng = np.random.default_rng(2)
    predicted, score = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    weight = rng.integers(0, 3, (60, 3)).astype(np.float64)
    garbage = np.where(weight > 0, score, 1e6)
    one = fit_shrinkage("simple-lp", predicted, table(score, weight))
    np.testing.assert_allclose(fit_shrinkage("simple-lp", predicted, table(garbage, weight)).slope, one.slope)
    np.testing.assert_allclose(
        fit_shrinkage("simple-lp", predicted, table(score, 3 * np.ones((60, 3)))).slope,
        fit_shrinkage("simple-lp", predicted, table(score)).slope,
        atol=1e-12,
    )


def test_the_ridge_is_that_of_the_least_error_when_each_prompt_is_left_out_in_turn(monkeypatch):
    """The leave-one-out errors are those of as many fits, and of one ridge the slope is the normal equations'."""
    from p2l.routing import shrinkage_fit

    rng = np.random.default_rng(3)
    predicted, measured = rng.normal(size=(12, 3)), table(rng.normal(size=(12, 3)))
    column = shrinkage_fit._Column.of(predicted, measured, 1)
    x, y = predicted - predicted.mean(0), measured.score[:, 1] - measured.score[:, 1].mean()
    scale = 0.5 * np.trace(x.T @ x) / 3
    np.testing.assert_allclose(column.slope(0.5), np.linalg.solve(x.T @ x + scale * np.eye(3), x.T @ y))
    assert not column.slope(np.inf).any()
    for left in range(12):
        kept = np.arange(12) != left
        mean, level = predicted[kept].mean(0), measured.score[kept, 1].mean()
        x, y = predicted[kept] - mean, measured.score[kept, 1] - level
        slope = np.linalg.solve(x.T @ x + scale * np.eye(3), x.T @ y)
        error = measured.score[left, 1] - level - (predicted[left] - mean) @ slope
        assert column.left_out(0.5)[left] == pytest.approx(error)


def test_predictions_that_never_differ_leave_the_prior():
    measured = table(np.random.default_rng(0).random((20, 3)))
    found = fit_shrinkage("optimal-lp", np.full((20, 3), 0.5), measured)
    np.testing.assert_allclose(found(np.array([0.1, 0.5, 0.9])), measured.mean_score())


def test_an_llm_of_which_nothing_is_known_is_named():
    weight = np.ones((5, 3))
    weight[1:, 2] = 0
    with pytest.raises(DataError, match="fewer: c"):
        fit_shrinkage("optimal-lp", np.zeros((5, 3)), table(np.zeros((5, 3)), weight))


@pytest.fixture
def some() -> Shrinkage:
    slope = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 1 / 3]])
    return Shrinkage("optimal-lp", MODELS, np.array([0.5, 0.6, 0.7]), np.array([0.1, 0.2, 0.3]), slope)


def test_json_and_back(some, tmp_path):
    some.save(tmp_path / "shrinkage.json")
    again = Shrinkage.load(tmp_path / "shrinkage.json")
    assert (again.optimizer, again.models) == (some.optimizer, some.models)
    predicted = np.random.default_rng(0).random((4, 3))
    np.testing.assert_array_equal(again(predicted), some(predicted))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"slope": None}, "slope must be 3 x 3 finite numbers"),
        ({"slope": [[1, 2], [3, 4]]}, "slope must be 3 x 3"),
        ({"prior": [1, 2, float("nan")]}, "prior must be 3 finite numbers"),
        ({"prior": ["x", 2, 3]}, "prior must be 3 finite"),
        ({"center": [1, 2, [3]]}, "center must be 3 finite"),
        ({"models": ["a", "a", "b"]}, "names that differ"),
        ({"models": "abc"}, "names that differ"),
        ({"models": []}, "names that differ"),
        ({"optimizer": "best"}, "optimizer must be one of strict, simple-lp, optimal-lp"),
        ({"more": 1}, "must have optimizer, models, prior, center, slope"),
    ],
)
def test_bad_files_are_reported(some, tmp_path, change, expected):
    some.save(tmp_path / "good.json")
    (tmp_path / "bad.json").write_text(json.dumps(json.loads((tmp_path / "good.json").read_text()) | change))
    with pytest.raises(ConfigError, match=expected) as error:
        Shrinkage.load(tmp_path / "bad.json")
    assert "bad.json" in str(error.value)


@pytest.mark.parametrize("text", [None, "{", "[]", "\xff"])
def test_what_is_no_such_file(tmp_path, text):
    if text is not None:
        (tmp_path / "no.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"no\.json"):
        Shrinkage.load(tmp_path / "no.json")


def test_a_router_decides_by_shrunk_scores_of_the_models_in_the_file(some):
    """Costs 1, 2, 3, 4 of c, b, x, a; x is not in the file, and can only be left out."""
    names = ("c", "b", "x", "a")
    ranking = Ranking(torch.tensor([3.0, 1.0, 9.0, 2.0]), None)
    mask, rng = np.array([True, True, False, True]), np.random.default_rng(0)
    raw = win_rates(BT, ranking, Opponents.of(np.ones(4)))
    expected = some(raw[[3, 1, 0]])[[2, 1, 0]]
    router = make_router("optimal-lp", BT, [1, 2, 3, 4], shrinkage=some.aligned(names))
    decision = router.decide(ranking, None, rng, mask)
    np.testing.assert_allclose(decision.scores[mask], expected)
    best = int(np.flatnonzero(mask)[expected.argmax()])
    assert decision.model == best == router.ranked(ranking, None, mask)[0]
    assert decision.expected_score == pytest.approx(expected.max())
    with pytest.raises(ConfigError, match="mask it"):
        router.decide(ranking, None, rng)


@pytest.mark.parametrize("optimizer", ["strict", "simple-lp"])
def test_shrinkage_can_turn_the_order_round(optimizer):
    """Predictions have slope 0, so the dear model is chosen although the prompt favours the cheap one by 0.5 nats."""
    shrinkage = Shrinkage("simple-lp", ("cheap", "dear"), np.array([0.2, 0.9]), np.zeros(2), np.zeros((2, 2)))
    ranking, rng = Ranking(torch.tensor([0.5, 0.0]), None), np.random.default_rng(0)
    assert make_router(optimizer, BT, [1, 3]).decide(ranking, 4.0, rng).model == 0
    router = make_router(optimizer, BT, [1, 3], shrinkage=shrinkage)
    assert router.decide(ranking, 4.0, rng).model == 1
    half = router.decide(ranking, 2.0, rng)
    assert half.expected_score == pytest.approx(0.2 if optimizer == "strict" else 0.55)
    assert half.shadow_price == pytest.approx(0.35)


def test_a_shrinkage_of_other_scores_or_models_is_refused(some):
    with pytest.raises(ConfigError, match="fitted to scores of optimal-lp; the router's are of strict"):
        make_router("strict", BT, [1, 2, 3], shrinkage=some)
    with pytest.raises(ConfigError, match="leave out opponents"):
        make_router("optimal-lp", BT, [1, 2, 3], [1, 1, 2], some)
    with pytest.raises(ConfigError, match="it has 3 models; the router has 2"):
        make_router("optimal-lp", BT, [1, 2], shrinkage=some)
    with pytest.raises(ConfigError, match="scores of c, which the P2L model does not rank"):
        some.aligned(["a", "b", "d"])
