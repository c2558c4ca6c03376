import numpy as np

from p2l.scaling import ScalingLaw, fit_with_intervals
from tests.scaling.simulated import TRUTH, simulate


def test_without_scatter_intervals_are_narrow() -> None:
    fit = fit_with_intervals(simulate(), resamples=20)
    e = fit.coefficients()["e"]
    assert e.low <= e.high < e.low + 0.01
    assert fit.rmse < 1e-4
    assert fit.notes() == ()
    predicted = fit.predict(2e7, 2e5)
    assert abs(predicted.value - TRUTH.loss(2e7, 2e5)) < 1e-3


def test_intervals_cover_a_new_run() -> None:
    """A larger model on more votes, with its own scatter; nominal 95 %, over 16 sweeps."""
    scatter, covered = 1e-3, 0
    for seed in range(16):
        fit = fit_with_intervals(simulate(scatter=scatter, seed=seed), resamples=25, seed=seed)
        came = TRUTH.loss(2e7, 1.6e5) * np.exp(scatter * np.random.default_rng(1000 + seed).normal())
        predicted = fit.predict(2e7, 1.6e5, seed=seed)
        covered += predicted.low <= came <= predicted.high
    assert covered >= 12


def test_what_the_points_do_not_tell_is_said() -> None:
    flat = fit_with_intervals(simulate(ScalingLaw(1.1, 1e-9, 0.5, 300.0, 0.75)), resamples=10)
    assert any("model size changes the loss by less than 0.001" in note for note in flat.notes())
    noisy = fit_with_intervals(simulate(scatter=0.03), resamples=40)
    assert any("e is not identified" in note or "e is 0" in note for note in noisy.notes())
    no_floor = fit_with_intervals(simulate(ScalingLaw(1e-7, 4.0, 0.1, 5.0, 0.2)), resamples=10)
    assert any("e is 0" in note or "e is not identified" in note for note in no_floor.notes())
    wall = simulate(ScalingLaw(1.1, 0.2 * 1.8e6**4, 4.0, 300.0, 0.75))
    assert any("alpha = 4.00 is at the edge" in note for note in fit_with_intervals(wall, resamples=10).notes())


def test_the_same_seed_gives_the_same_intervals() -> None:
    one, other = (fit_with_intervals(simulate(scatter=1e-3), resamples=10, seed=3) for _ in range(2))
    assert one.coefficients() == other.coefficients()
    assert one.predict(2e7, 2e5) == other.predict(2e7, 2e5)
