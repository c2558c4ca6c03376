"""The update is that of the textbook, recovers a truth, forgets to its prior, and grows by new models."""

from dataclasses import replace

import numpy as np
import pytest

from p2l.errors import ConfigError, DataError
from p2l.online.head_feedback import Feedback, FeedbackLikelihood
from p2l.online.head_filter import FilterOptions, HeadFilter
from p2l.online.influence import NO_LIMIT, KeyLimits
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import FAMILIES, GRK
from tests.online.worlds import drawn_weights, prompts, scores_of, small_head, votes_of

FREE = KeyLimits(NO_LIMIT)


def design(head: OnlineHead, feedback: Feedback, places: np.ndarray) -> np.ndarray:
    """Return the matrix from weights to the named outputs, row by row."""
    size = len(head.start)
    rows = np.zeros((*places.shape, head.num_outputs, size))
    for piece in range(len(places)):
        for at, output in enumerate(places[piece]):
            rows[piece, at, output] = feedback.features[piece]
    return rows.reshape(-1, head.num_outputs * size)


@pytest.mark.parametrize("name", ["grk", "rk", "bt"])
def test_one_batch_of_votes_adds_its_information_to_that_of_the_prior(name: str) -> None:
    head = small_head(name)
    head = replace(head, noise=np.zeros_like(head.noise))
    feedback = votes_of(head, drawn_weights(head, np.random.default_rng(1)), 9, 2)
    chain = HeadFilter(head, FilterOptions(limits=FREE))
    before = chain.start()
    after = chain.update(before, feedback)
    told = FeedbackLikelihood(head.family).evidence(feedback, feedback.outputs)
    rows = design(head, feedback, told.places)
    information = np.zeros((rows.shape[0],) * 2)
    width = told.places.shape[1]
    for piece in range(len(feedback)):
        at = slice(piece * width, (piece + 1) * width)
        information[at, at] = told.information[piece]
    total = rows.T @ information @ rows
    identity = np.eye(len(before.covariance))
    wanted = np.linalg.solve(identity + before.covariance @ total, before.covariance)
    np.testing.assert_allclose(after.covariance, wanted, atol=1e-10)
    mean = wanted @ rows.T @ told.gradient.ravel()
    np.testing.assert_allclose(after.mean.ravel(), mean, atol=1e-10)


@pytest.mark.parametrize("feedback_of", [scores_of, votes_of])
def test_the_truth_is_within_the_intervals_and_errors_fall(feedback_of: object) -> None:
    inside, first, last = [], [], []
    for seed in range(6):
        head = small_head(seed=seed)
        rng = np.random.default_rng(seed)
        truth, look = drawn_weights(head, rng), prompts(head, 40, rng)
        chain = HeadFilter(head, FilterOptions(limits=FREE))
        state = chain.update(chain.start(), feedback_of(head, truth, 300, seed))  # type: ignore[operator]
        wrong = (look @ truth.T - state.correction(look))[:, :3]
        deviation = np.sqrt(np.diagonal(state.covariances(look), axis1=1, axis2=2))[:, :3]
        inside.append(np.abs(wrong) < 1.96 * deviation)
        first.append(np.square(look @ truth.T)[:, :3].mean())
        last.append(np.square(wrong).mean())
    assert 0.85 < np.mean(inside) <= 0.995
    assert np.mean(last) < 0.25 * np.mean(first)


def test_draws_stay_draws_of_the_posterior() -> None:
    head = small_head(models=2, hidden=2)
    truth = drawn_weights(head, np.random.default_rng(1))
    chain = HeadFilter(head, FilterOptions(memory=60, draws=6000, limits=FREE))
    state = chain.update(chain.start(), scores_of(head, truth, 90, 3))
    state = chain.update(state, votes_of(head, truth, 70, 4))
    found = np.cov(state.draws.reshape(6000, -1).T)
    scale = np.sqrt(np.outer(state.covariance.diagonal(), state.covariance.diagonal()))
    assert np.abs(state.draws.mean(0)).max() < 0.06
    assert np.abs(found - state.covariance).max() < 0.08 * scale.max()


def test_the_same_feedback_gives_the_same_state_and_leaves_the_earlier_one() -> None:
    head = small_head()
    feedback = scores_of(head, drawn_weights(head, np.random.default_rng(1)), 80, 3)
    chain = HeadFilter(head, FilterOptions(memory=200, draws=4))
    before = chain.start()
    one, two = chain.update(before, feedback), chain.update(before, feedback)
    for part in ("mean", "covariance", "draws"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
    np.testing.assert_array_equal(before.mean, 0)
    assert (before.count, one.count) == (0, 80)


def test_what_is_forgotten_leaves_the_prior() -> None:
    head = small_head(drift=0.7)
    feedback = scores_of(head, drawn_weights(head, np.random.default_rng(1)), 300, 3)
    chain = HeadFilter(head, FilterOptions(memory=50, limits=FREE))
    learned = chain.update(chain.start(), feedback)
    ignored = replace(feedback, weight=np.zeros(300))
    for _ in range(5):
        state = chain.update(learned, ignored)
        learned = state
    assert np.abs(state.mean).max() < 1e-9
    np.testing.assert_allclose(
        state.covariances(prompts(head, 3, np.random.default_rng(0)))[0].diagonal()[0],
        (head.deviation(prompts(head, 3, np.random.default_rng(0)))[0][0] ** 2),
    )
    assert head.prior[0, 0, 0] == pytest.approx(head.start[0, 0, 0] + 0.49)


def test_a_change_of_quality_is_followed_only_with_memory() -> None:
    head = small_head(models=2, drift=1.0)
    good, bad = np.zeros((3, 5)), np.zeros((3, 5))
    good[0, 0], bad[0, 0] = 2.0, -2.0
    levels = {}
    for memory in (None, 150.0):
        chain = HeadFilter(head, FilterOptions(memory=memory, limits=FREE))
        state = chain.update(chain.start(), scores_of(head, good, 2000, 1))
        levels[memory] = chain.update(state, scores_of(head, bad, 300, 2)).mean[0, 0]
    assert levels[None] > 0.3
    assert levels[150.0] < -0.5


def test_a_new_model_starts_as_the_mean_and_learns() -> None:
    head = small_head(spread=2.0)
    truth = drawn_weights(head, np.random.default_rng(1))
    chain = HeadFilter(head, FilterOptions(draws=3000, limits=FREE))
    old = chain.update(chain.start(), scores_of(head, truth, 400, 3))
    chain, state = chain.with_model(old, "newcomer")
    assert chain.head.models[-1] == "newcomer"
    assert chain.head.noise[3, 3] == pytest.approx(head.noise.diagonal()[:3].mean())
    assert np.linalg.eigvalsh(chain.head.noise).min() > -1e-12
    np.testing.assert_allclose(state.mean[3], old.mean[:3].mean(0))
    np.testing.assert_allclose(state.mean[[0, 1, 2, 4]], old.mean)
    look = prompts(head, 1, np.random.default_rng(5))
    own, others = np.diagonal(state.covariances(look)[0])[3], np.diagonal(state.covariances(look)[0])[:3]
    assert own > 2.0 > others.max()
    assert (look @ state.draws[:, 3].T).var() == pytest.approx(own, rel=0.12)
    grown = np.insert(truth, 3, truth[0] - 2, axis=0)
    later = chain.update(state, scores_of(chain.head, grown, 1500, 6))
    assert np.abs(look @ (later.mean - grown)[3]).max() < 0.6
    with pytest.raises(ConfigError, match="there is a model 'm0' already"):
        chain.with_model(state, "m0")


@pytest.mark.parametrize("family", [family for family in FAMILIES.values() if family.shift_invariant])
def test_families_that_only_compare_refuse_scores(family: object) -> None:
    head = small_head(family)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="scores of single answers need a grounded family"):
        HeadFilter(head).update(HeadFilter(head).start(), scores_of(head, np.zeros((head.num_outputs, 5)), 3, 0))


def test_feedback_is_checked_once() -> None:
    features, outputs = np.ones((1, 2)), np.zeros((1, 4))
    at = np.zeros(1, dtype=np.int64)
    with pytest.raises(DataError, match=r"scores from 0 to 1 are needed; got 1\.5"):
        Feedback.of_scores(features, outputs, at, np.array([1.5]), ("k",))
    with pytest.raises(DataError, match="against itself"):
        Feedback.of_votes(features, outputs, (at, at), np.eye(4)[:1], ("k",))


def test_a_score_is_the_quasi_likelihood_of_its_docstring() -> None:
    feedback = Feedback.of_scores(np.ones((1, 2)), np.zeros((1, 4)), np.array([1]), np.array([0.7]), ("k",))
    outputs = np.array([[0.2, 0.4, -1.0, 0.3]])
    told = FeedbackLikelihood(GRK, dispersion=0.5).evidence(feedback, outputs)
    mean, step = 1 / (1 + np.exp(-0.4)), 1e-5

    def value(coef: float) -> float:
        return (-0.7 * np.logaddexp(0, -coef) - 0.3 * np.logaddexp(0, coef)) / 0.5

    assert told.gradient[0, 0] == pytest.approx((value(0.4 + step) - value(0.4 - step)) / (2 * step), rel=1e-6)
    assert told.information[0, 0, 0] == pytest.approx(mean * (1 - mean) / 0.5)
    assert not told.gradient[0, 1:].any()


def test_a_head_keeps_the_features_that_the_prior_expects_most_of() -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((300, 6)) * [9, 1, 7, 1, 1, 1]
    posterior = cold_posterior(states @ np.linalg.qr(rng.standard_normal((6, 6)))[0], 3, GRK)
    whole = OnlineHead.of(posterior, "abc", GRK)
    part = OnlineHead.of(posterior, "abc", GRK, max_parameters=12)
    assert (len(whole.selected), whole.share, len(part.selected)) == (6, pytest.approx(1), 2)
    assert 0.3 < part.share < 0.99
    assert np.trace(part.noise) > np.trace(whole.noise)
    total = [
        np.trace(one.noise) + posterior.curvature[one.selected] @ np.trace(one.start[1:], 0, 1, 2)
        for one in (whole, part)
    ]
    assert total[0] == pytest.approx(total[1])
    with pytest.raises(ConfigError, match="4 outputs need at least 4; got 3"):
        OnlineHead.of(posterior, "abc", GRK, max_parameters=3)
