"""A fit to counts of votes is the fit to the votes."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data.battle_counts import BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import BattleTable
from p2l.errors import DataError
from p2l.leaderboard import fit
from p2l.leaderboard.cross_validation import LOSSES, cross_validate
from p2l.leaderboard.fit_leaderboard import fit_votes
from p2l.outcomes import BT, BT_TIE, FAMILIES, GRK, RK, OutcomeFamily
from p2l.types import OUTCOMES
from tests.leaderboard.voting import draw_votes, make_truth

VOTES = draw_votes(GRK, make_truth(GRK), 600, np.random.default_rng(0))


def weighted(votes: BattleTable) -> BattleTable:
    weight = np.random.default_rng(1).gamma(2.0, size=len(votes)).astype(np.float32)
    return dataclasses.replace(votes, weight=weight)


def softened(votes: BattleTable) -> BattleTable:
    shares = np.random.default_rng(2).dirichlet(np.ones(4), len(votes)).astype(np.float32)
    return dataclasses.replace(votes, outcome_shares=shares)


KINDS = {
    "hard": VOTES,
    "weighted": weighted(VOTES),
    "soft": softened(VOTES),
    "soft and weighted": weighted(softened(VOTES)),
}


@pytest.mark.parametrize("pair_weights", ["votes", "uniform"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_estimates_intervals_and_notes(family: OutcomeFamily, kind: str, pair_weights: str) -> None:
    one_by_one = fit(KINDS[kind], family, pair_weights=pair_weights)
    counted = fit(BattleCounts.of(KINDS[kind]), family, pair_weights=pair_weights)
    pd.testing.assert_frame_equal(counted.table(), one_by_one.table(), rtol=1e-5, check_dtype=False)
    np.testing.assert_allclose(counted.covariance, one_by_one.covariance, rtol=1e-4, atol=1e-9)
    assert counted.notes == one_by_one.notes and counted.log_loss == pytest.approx(one_by_one.log_loss, rel=1e-6)


def test_resamples_of_counts_vary_as_resamples_of_votes() -> None:
    """The two draw in other ways, from the same distribution: standard deviations within four of their errors."""
    one_by_one = fit(VOTES, "bt-tie", bootstrap=400).samples
    counted = fit(BattleCounts.of(VOTES), "bt-tie", bootstrap=400).samples
    ratio = counted.std(axis=0) / one_by_one.std(axis=0)
    assert np.abs(ratio - 1).max() < 4 / np.sqrt(400)
    assert np.abs(counted.mean(0) - one_by_one.mean(0)).max() < 4 * one_by_one.std(axis=0).max() / np.sqrt(200)


def test_uniform_pairs_keep_their_weights_in_resamples() -> None:
    options = {"pair_weights": "uniform", "bootstrap": 200}
    one_by_one, counted = (fit(votes, "bt", **options).samples for votes in (VOTES, BattleCounts.of(VOTES)))
    assert np.abs(counted.std(axis=0) / one_by_one.std(axis=0) - 1).max() < 0.3


def test_folds_of_counts_have_the_loss_of_folds_of_votes() -> None:
    families = [BT, BT_TIE, RK, GRK]
    one_by_one, counted = (
        cross_validate(votes, families, folds=4, seed=1).groupby("family")[list(LOSSES)].mean()
        for votes in (VOTES, BattleCounts.of(VOTES))
    )
    pd.testing.assert_frame_equal(counted, one_by_one, atol=0.02)
    fitted = fit_votes(BattleCounts.of(VOTES), GRK).coefs.numpy()
    np.testing.assert_allclose(fitted, fit_votes(VOTES, GRK).coefs.numpy(), atol=1e-8)


def test_folds_divide_the_counts() -> None:
    counts = BattleCounts.of(VOTES)
    scores = cross_validate(counts, [BT], folds=600)
    assert len(scores) == 600


@pytest.mark.parametrize("kind", ["weighted", "soft"])
def test_votes_that_must_be_drawn_one_by_one(kind: str) -> None:
    counts = BattleCounts.of(KINDS[kind])
    with pytest.raises(NeedsEachVoteError, match="a bootstrap of weighted or soft votes needs each vote"):
        fit(counts, bootstrap=10)
    with pytest.raises(NeedsEachVoteError, match="cross-validation of weighted or soft votes needs each vote"):
        cross_validate(counts, [BT])


def test_counts_have_no_clusters_and_covariates() -> None:
    for options in ({"cluster": "user"}, {"covariates": ["length"]}):
        with pytest.raises(DataError, match="counts of votes have no clusters and covariates"):
            fit(BattleCounts.of(VOTES), **options)


def test_large_files_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names, outcomes = np.array(VOTES.models), np.array([outcome.value for outcome in OUTCOMES])
    winner = outcomes[VOTES.outcome_shares.argmax(axis=1)].astype(object)
    winner[7] = None
    columns = {"model_a": names[VOTES.model_a], "model_b": names[VOTES.model_b], "winner": winner}
    frame = pd.DataFrame(columns).assign(user=np.arange(600) % 50)
    frame.to_parquet(tmp_path / "votes.parquet")
    expected = fit(tmp_path / "votes.parquet", "grk").table()
    monkeypatch.setattr("p2l.data.table_blocks.LARGE_ROWS", 100)
    monkeypatch.setattr("p2l.leaderboard.fit_input.read_table", None)  # it must not be called
    with caplog.at_level(logging.WARNING):
        counted = fit(tmp_path / "votes.parquet", "grk").table()
    pd.testing.assert_frame_equal(counted, expected, rtol=1e-9)
    assert "missing value: 1 (row 7)" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr("p2l.data.table_blocks.LARGE_ROWS", 100)
    assert len(fit(tmp_path / "votes.parquet", "bt", cluster="user").table()) == len(names)  # needs each vote
    frame.assign(weight=0.5).to_parquet(tmp_path / "weighted.parquet")
    assert fit(tmp_path / "weighted.parquet", "bt", bootstrap=5).samples.shape == (5, len(names))
