"""Intervals and ranks by hand."""

import numpy as np
import pytest
import scipy.stats

from p2l.statistics.intervals import (
    intervals,
    mean_interval,
    normal_quantile,
    rank_ranges,
    student_p_value,
    student_quantile,
    wilson_interval,
)

ESTIMATES = np.array([2.0, 1.9, 0.0])


def test_normal_intervals() -> None:
    low, high = intervals(ESTIMATES, np.diag([1.0, 0.25, 0.0]), None, 0.95)
    assert high - ESTIMATES == pytest.approx([1.959964, 0.979982, 0.0])
    assert ESTIMATES - low == pytest.approx([1.959964, 0.979982, 0.0])


def test_percentiles_of_samples() -> None:
    samples = np.linspace(0, 100, 1001)[:, None] * np.array([1.0, 2.0])
    low, high = intervals(np.zeros(2), np.eye(2), samples, 0.9)
    assert low == pytest.approx([5, 10]) and high == pytest.approx([95, 190])


def test_ranks_that_the_intervals_allow() -> None:
    best, worst = rank_ranges(ESTIMATES, np.diag([0.01, 0.01, 0.01]), None, 0.95)
    assert best.tolist() == [1, 1, 3] and worst.tolist() == [2, 2, 3]


def test_what_two_models_share_does_not_blur_their_order() -> None:
    together = np.full((2, 2), 4.0) + np.diag([1e-4, 1e-4])
    best, worst = rank_ranges(np.array([1.0, 0.9]), together, None, 0.95)
    assert best.tolist() == worst.tolist() == [1, 2]
    rng = np.random.default_rng(0)
    samples = np.array([1.0, 0.9]) + rng.normal(scale=2, size=(500, 1)) + rng.normal(scale=0.01, size=(500, 2))
    best, worst = rank_ranges(np.array([1.0, 0.9]), np.eye(2), samples, 0.95)
    assert best.tolist() == worst.tolist() == [1, 2]


def test_students_interval_of_a_mean() -> None:
    # mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert mean_interval(np.array([1.0, 2.0, 3.0]), 0.95) == pytest.approx((2 - 2.484138, 2 + 2.484138))


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999999])
@pytest.mark.parametrize("number", [2, 3, 30, 100_000])
def test_quantiles_and_p_values_are_those_of_scipy(level: float, number: int) -> None:
    assert normal_quantile(level) == scipy.stats.norm.ppf((1 + level) / 2)
    assert student_quantile(level, number) == scipy.stats.t.ppf((1 + level) / 2, number - 1)
    statistic = np.array([0.0, 1e-9, 1.0, 4.0, 300.0, np.inf])
    np.testing.assert_array_equal(student_p_value(statistic, number), 2 * scipy.stats.t.sf(statistic, number - 1))


def test_wilson_interval_of_nine_in_ten() -> None:
    low, high = wilson_interval(np.array([0.9]), np.array([10]))
    assert (low[0], high[0]) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_a_batch_gives_what_each_of_it_gives() -> None:
    rng = np.random.default_rng(0)
    estimates, root = rng.normal(size=(5, 4)), rng.normal(size=(5, 4, 4)) / 3
    covariance = root @ root.swapaxes(1, 2)
    for function in (intervals, rank_ranges):
        together = np.stack(function(estimates, covariance, None, 0.9), axis=1)
        alone = [function(*one, None, 0.9) for one in zip(estimates, covariance, strict=True)]
        np.testing.assert_array_equal(together, alone)


def test_models_that_were_not_compared_are_not_ranked() -> None:
    apart = np.array([[True, True, False], [True, True, False], [False, False, True]])
    best, worst = rank_ranges(ESTIMATES, np.diag([1e-6] * 3), None, 0.95, comparable=apart)
    assert best.tolist() == [1, 2, 1] and worst.tolist() == [2, 3, 3]
