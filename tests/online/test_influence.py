"""Feedback of one key moves no prompt by more than its bound, and cannot freeze the model either."""

import numpy as np
import pytest

from p2l.errors import ConfigError
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import FilterOptions, HeadFilter
from p2l.online.influence import NO_LIMIT, KeyLimit, KeyLimits, shift_size
from tests.online.worlds import drawn_weights, prompts, scores_of, small_head, votes_of

MOST = 0.5


def joined(first: Feedback, second: Feedback, order: np.ndarray) -> Feedback:
    parts = {
        name: np.concatenate((getattr(first, name), getattr(second, name)))
        for name in ("features", "outputs", "model", "other", "shares", "score", "weight")
    }
    return Feedback(**parts, keys=(*first.keys, *second.keys)).rows(order)


def poison(head: object, count: int, *, as_votes: bool) -> Feedback:
    """Return feedback of one key: the last LLM always wins."""
    features = prompts(head, count, np.random.default_rng(9))  # type: ignore[arg-type]
    outputs = np.zeros((count, head.num_outputs))  # type: ignore[attr-defined]
    best = np.full(count, len(head.models) - 1)  # type: ignore[attr-defined]
    if as_votes:
        return Feedback.of_votes(
            features, outputs, (best, np.arange(count) % 2), np.eye(4)[[0] * count], ["bad"] * count
        )
    return Feedback.of_scores(features, outputs, best, np.ones(count), ["bad"] * count)


@pytest.mark.parametrize("as_votes", [True, False])
@pytest.mark.parametrize("memory", [None, 200.0])
def test_a_flood_of_one_key_stays_within_its_bound(as_votes: bool, memory: float | None) -> None:
    head = small_head()
    truth = drawn_weights(head, np.random.default_rng(1))
    honest = (votes_of if as_votes else scores_of)(head, truth, 400, 2, "good")
    limits = KeyLimits(KeyLimit(most_shift=MOST, most_evidence=None), {"good": NO_LIMIT})
    chain = HeadFilter(head, FilterOptions(memory=memory, limits=limits))
    order = np.random.default_rng(3).permutation(900)
    alone = chain.update(chain.start(), honest)
    both = chain.update(chain.start(), joined(honest, poison(head, 500, as_votes=as_votes), order))
    shift = both.keys["bad"].shift
    assert 0.98 * MOST < shift_size(head, shift) <= MOST  # the flood reached the bound
    np.testing.assert_allclose(sum(one.shift for one in both.keys.values()), both.mean, atol=1e-9)
    look = prompts(head, 200, np.random.default_rng(4))
    assert (np.abs(look @ shift.T) <= MOST * head.deviation(look) + 1e-9).all()
    if memory is None:  # with memory, the flood also makes honest feedback older
        moved = np.abs(both.correction(look) - alone.correction(look))[:, :3]
        assert (moved <= 1.5 * MOST * head.deviation(look)[:, :3]).all()


def test_without_a_bound_the_same_flood_moves_further() -> None:
    head = small_head()
    chain = HeadFilter(head, FilterOptions(limits=KeyLimits(NO_LIMIT)))
    state = chain.update(chain.start(), poison(head, 500, as_votes=True))
    assert shift_size(head, state.mean) > 3 * MOST


def test_one_key_cannot_make_the_model_sure() -> None:
    head = small_head()
    sizes = []
    for most in (30.0, None):
        limits = KeyLimits(KeyLimit(most_shift=None, most_evidence=most))
        chain = HeadFilter(head, FilterOptions(limits=limits))
        state = chain.update(chain.start(), poison(head, 300, as_votes=False))
        sizes.append(state.covariance[10, 10])  # the level of the last LLM
        assert state.keys["bad"].evidence == pytest.approx(30 if most else 300)
    chain = HeadFilter(head, FilterOptions(limits=KeyLimits(NO_LIMIT)))
    thirty = chain.update(chain.start(), poison(head, 30, as_votes=False))
    assert sizes[0] == pytest.approx(thirty.covariance[10, 10], rel=0.05)
    assert sizes[1] < sizes[0] / 2


def test_a_key_of_weight_0_changes_nothing_and_others_count_by_their_weight() -> None:
    head = small_head()
    feedback = scores_of(head, drawn_weights(head, np.random.default_rng(1)), 50, 2, "k")
    means = {}
    for weight in (0.0, 0.5, 1.0):
        limits = KeyLimits(of_keys={"k": KeyLimit(weight, None, None)})
        chain = HeadFilter(head, FilterOptions(limits=limits))
        state = chain.update(chain.start(), feedback)
        means[weight] = state.mean
        assert state.count == 50
        assert state.keys["k"].evidence == 50 * weight
    assert not means[0.0].any()
    assert np.abs(means[0.5]).sum() < np.abs(means[1.0]).sum()


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"most_shift": 0.0}, {"most_evidence": float("nan")}])
def test_limits_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        KeyLimit(**wrong)
