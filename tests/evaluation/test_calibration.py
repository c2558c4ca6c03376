"""Calibration error by hand and in law."""

import numpy as np
import pytest

from p2l.evaluation.calibration import BINS, calibration_error, gaps_by_prompt, reliability

PROBS = np.array([[0.8, 0.2], [0.8, 0.2], [0.32, 0.68], [1.0, 0.0]])
TARGETS = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
WEIGHT, PROMPT = np.array([1.0, 1.0, 2.0, 1.0]), np.array([0, 1, 1, 2])


def test_by_hand() -> None:
    gaps = gaps_by_prompt(PROBS, TARGETS, WEIGHT, PROMPT)
    assert gaps.shape == (3, 2 * BINS)
    total = np.asarray(gaps.sum(axis=0))
    # bins of a wins: 0.8 twice against one of two, 0.32 (weight 2) against none, 1.0 against one; b wins mirrors them
    assert calibration_error(total, np.array([5.0])).tolist() == pytest.approx([(0.6 + 0.64 + 0) / 5])


def test_the_curve_has_the_bins_that_hold_votes() -> None:
    curve = reliability(("a wins", "b wins"), PROBS, TARGETS, WEIGHT)["a wins"]
    assert curve == {
        "predicted": pytest.approx([0.32, 0.8, 1.0]),
        "observed": pytest.approx([0, 0.5, 1]),
        "votes": pytest.approx([2, 2, 1]),
    }


def test_a_calibrated_model_has_an_error_that_vanishes_with_votes() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=40_000)
    targets = np.eye(3)[(rng.random((40_000, 1)) > probs.cumsum(axis=1)[:, :2]).sum(axis=1)]
    errors = []
    for number in (400, 40_000):
        gaps = gaps_by_prompt(probs[:number], targets[:number], np.ones(number), np.arange(number))
        errors.append(calibration_error(np.asarray(gaps.sum(axis=0)), np.array([float(number)]))[0])
    assert errors[1] < 0.006 < errors[0]
