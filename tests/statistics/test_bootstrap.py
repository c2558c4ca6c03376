"""Resampled sums are those of multinomial counts, whatever the blocks."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from p2l.statistics import bootstrap
from p2l.statistics.bootstrap import bootstrap_mean, percentile_interval, resampled_rows, resampled_sums


def test_every_resample_has_as_many_prompts_and_the_expected_sum() -> None:
    table = np.column_stack((np.ones(500), np.arange(500.0)))
    (sums,) = resampled_sums(table, seed=1)
    np.testing.assert_array_equal(sums[:, 0], 500)
    spread = np.sqrt(500) * np.arange(500).std()
    assert sums[:, 1].mean() == pytest.approx(table[:, 1].sum(), abs=4 * spread / np.sqrt(len(sums)))
    assert sums[:, 1].std() == pytest.approx(spread, rel=0.06)


def test_small_blocks_follow_the_same_law(monkeypatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 2000)  # seven prompts in a block
    table = np.column_stack((np.ones(100), np.arange(100.0)))
    (sums,) = resampled_sums(table, seed=1)
    np.testing.assert_array_equal(sums[:, 0], 100)
    assert sums[:, 1].std() == pytest.approx(10 * np.arange(100).std(), rel=0.06)


def test_tables_share_their_draws_and_may_be_sparse() -> None:
    table = np.random.default_rng(0).random((40, 3))
    dense, sparse = resampled_sums(table, csr_matrix(table), resamples=20)
    np.testing.assert_allclose(dense, sparse)


def test_a_resample_without_a_value_is_left_out_of_the_interval() -> None:
    found = percentile_interval(0.5, np.array([0.4, np.nan, 0.6, np.inf]), level=1.0)
    assert (found.low, found.high) == (0.4, 0.6)


def test_the_interval_of_a_mean_has_the_width_of_independent_clusters() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, 400)
    single = bootstrap_mean(values, np.ones(400), np.arange(400))
    assert single.value == pytest.approx(values.mean())
    assert single.high - single.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    copies = bootstrap_mean(np.repeat(values, 9), np.ones(3600), np.repeat(np.arange(400), 9))
    assert copies.high - copies.low == pytest.approx(single.high - single.low, rel=0.1)


def test_clusters_are_drawn_whole() -> None:
    cluster = np.array([0, 1, 0, 2, 2, 2])
    for rows in resampled_rows(6, cluster, count=20, seed=0):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2] and counts[3] == counts[4] == counts[5]
        assert counts[[0, 1, 3]].sum() == 3
    assert [len(rows) for rows in resampled_rows(6, None, count=2, seed=0)] == [6, 6]


def test_a_single_cluster_has_no_interval() -> None:
    """It says nothing about the spread between clusters: a width of zero would claim certainty."""
    found = bootstrap_mean(np.array([0.2, 0.4]), np.ones(2), np.zeros(2, dtype=np.int64))
    assert found.value == pytest.approx(0.3)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(resampled_sums(np.ones((1, 3)), resamples=5)[0]).all()
    two = bootstrap_mean(np.array([0.2, 0.4]), np.ones(2), np.arange(2))
    assert (two.low, two.high) == pytest.approx((0.2, 0.4))


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1 prompt: nothing tells"), (19, "only 19 prompts: intervals are too narrow"), (20, "")]
)
def test_few_prompts_are_said_once(number: int, said: str, caplog: pytest.LogCaptureFixture) -> None:
    bootstrap._warn_of_few.cache_clear()
    for _ in range(2):
        resampled_sums(np.ones((number, 1)), resamples=3)
    assert len(caplog.messages) == bool(said) and said in caplog.text
