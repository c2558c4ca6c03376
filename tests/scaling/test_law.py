from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.errors import DataError
from p2l.scaling import Observations, ScalingLaw, fit_law, observe
from p2l.scaling.law import _objective
from tests.scaling.simulated import TRUTH, points, simulate


def test_a_loss_by_hand() -> None:
    law = ScalingLaw(e=1.0, a=2.0, alpha=0.5, b=3.0, beta=1.0)
    assert law.loss(np.array([4.0, 16.0]), np.array([3.0, 30.0])).tolist() == [1 + 1 + 1, 1 + 0.5 + 0.1]
    assert str(law) == "L = 1.0000 + 2 / N^0.500 + 3 / D^1.000"


@settings(max_examples=20)
@given(
    e=st.floats(0.3, 1.5),
    alpha=st.floats(0.2, 1.2),
    beta=st.floats(0.2, 1.2),
    size_term=st.floats(0.02, 0.3),
    votes_term=st.floats(0.02, 0.3),
)
def test_a_law_is_recovered(e: float, alpha: float, beta: float, size_term: float, votes_term: float) -> None:
    """The terms are those of the smallest model and the fewest votes."""
    truth = ScalingLaw(e, size_term * 1.8e6**alpha, alpha, votes_term * 1e4**beta, beta)
    seen = simulate(truth)
    found = fit_law(seen)
    np.testing.assert_allclose(found.loss(*seen[:2]), seen.log_loss, rtol=2e-5)
    # a size and a number of votes four times as large as any
    np.testing.assert_allclose(found.loss(4.3e7, 3.2e5), truth.loss(4.3e7, 3.2e5), rtol=2e-3)


def test_coefficients_are_found_again() -> None:
    np.testing.assert_allclose(astuple(fit_law(simulate())), astuple(TRUTH), rtol=2e-2)


def test_one_run_that_failed_moves_the_law_little() -> None:
    seen = simulate(scatter=5e-4)
    spoiled = seen.log_loss.copy()
    spoiled[5] *= 1.3
    good, robust = fit_law(seen), fit_law(seen._replace(log_loss=spoiled))
    others = np.arange(len(spoiled)) != 5
    moved = np.abs(robust.loss(*seen[:2]) - good.loss(*seen[:2]))[others]
    assert moved.max() < 0.01 < 0.3


def test_a_start_changes_nothing_but_the_time() -> None:
    seen = simulate(scatter=1e-3)
    found = fit_law(seen)
    np.testing.assert_allclose(astuple(fit_law(seen, start=found)), astuple(found), rtol=1e-3)


def test_the_gradient_of_the_search() -> None:
    seen = simulate(scatter=1e-3)
    x, y = np.log(seen.parameters / 4e6), np.log(seen.votes / 3e4)
    at = np.array([0.05, -2.0, 0.5, -2.0, 0.7])
    numeric = []
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        up, down = (_objective(at + s, x, y, np.log(seen.log_loss))[0] for s in (step, -step))
        numeric.append((up - down) / 2e-6)
    np.testing.assert_allclose(_objective(at, x, y, np.log(seen.log_loss))[1], numeric, rtol=1e-4)


def test_points_that_do_not_suffice() -> None:
    enough = points(simulate())
    one_size = [point for point in enough if point.parameters == enough[0].parameters]
    with pytest.raises(DataError, match="5 coefficients: more points are needed than 4"):
        observe(one_size, "test")
    with pytest.raises(DataError, match=r"at least 3 sizes \(parameters\); the points have \[1800000, 3600000\]"):
        observe([p for p in enough if p.parameters < 4e6], "test")
    with pytest.raises(DataError, match="at least 3 numbers of votes"):
        observe([p for p in enough if p.votes < 4e4], "test")
    with pytest.raises(DataError, match="16 of 16 points have no val loss above 0"):
        observe(enough, "val")
    for loss in (0.0, float("nan"), float("inf"), -1.0):
        with pytest.raises(DataError, match="1 of 16 points have no test loss above 0"):
            observe([replace(enough[0], test_log_loss=loss), *enough[1:]], "test")
    assert isinstance(observe(enough, "test"), Observations)
