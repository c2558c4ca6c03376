"""Leaderboards of tables that are counted in blocks, and when they are."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from p2l.commands.leaderboard import LeaderboardJob
from p2l.data.battle_counts import NeedsEachVoteError
from p2l.errors import ConfigError
from tests.commands.test_leaderboard import write_votes

COUNTED = "counted in blocks"


@pytest.fixture
def votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """A table that is large, for the limit of this test."""
    write_votes(tmp_path / "votes.parquet")
    monkeypatch.setattr("p2l.data.table_blocks.LARGE_ROWS", 400)
    caplog.set_level(logging.INFO)
    return tmp_path / "votes.parquet"


def job(votes: Path | str, **options: object) -> LeaderboardJob:
    folder = Path(str(votes).removesuffix("*.parquet")).parent
    return LeaderboardJob(str(votes), "grk", str(folder / "out"), **options)


def test_counts_give_the_leaderboards_of_the_table(votes: Path, caplog: pytest.LogCaptureFixture) -> None:
    categories = ("all", "math=true", "language=Chinese")
    options = {"categories": categories, "pair_weights": "uniform", "folds": 2, "compare": ("bt", "grk")}
    counted, whole = (job(votes, stream=stream, **options).run() for stream in ("auto", False))
    assert caplog.text.count(COUNTED) == 1
    assert list(counted) == list(whole) == ["all", "math=true"]
    for name, found in counted.items():
        pd.testing.assert_frame_equal(found.table(), whole[name].table(), rtol=1e-4, atol=1e-6, check_dtype=False)
    assert caplog.text.count("category language=Chinese is left out: no vote is in it") == 2


def test_resamples_of_weighted_votes_read_the_table_whole(votes: Path, caplog: pytest.LogCaptureFixture) -> None:
    pd.read_parquet(votes).assign(weight=0.5).to_parquet(votes)
    assert job(votes).run()["all"].samples is None and COUNTED in caplog.text
    assert job(votes, bootstrap=2).run()["all"].samples.shape == (2, 5)
    assert "a bootstrap or cross-validation of weighted or soft votes needs each vote" in caplog.text
    with pytest.raises(NeedsEachVoteError):
        job(votes, bootstrap=2, stream=True).run()


def test_options_that_need_each_vote(votes: Path, caplog: pytest.LogCaptureFixture) -> None:
    for options in ({"cluster": "length"}, {"covariates": ["length"]}):
        caplog.clear()
        job(votes, **options).run()
        assert f"{next(iter(options))} needs each vote, so that the table is read whole" in caplog.text
        with pytest.raises(ConfigError, match=f"stream=true counts votes, and {next(iter(options))} needs each vote"):
            job(votes, stream=True, **options).run()


def test_what_cannot_be_read_in_blocks(votes: Path, caplog: pytest.LogCaptureFixture) -> None:
    pd.read_parquet(votes).to_csv(votes.with_suffix(".csv"))
    with pytest.raises(ConfigError, match=r"stream=true reads parquet and JSON-lines files.* none at .*votes\.csv"):
        job(votes.with_suffix(".csv"), stream=True).run()
    with pytest.raises(ConfigError, match="stream must be one of auto, true, false; got 'sometimes'"):
        job(votes, stream="sometimes")


def test_small_tables_and_patterns(
    votes: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("p2l.data.table_blocks.LARGE_ROWS", 401)
    pattern = str(votes).replace("votes.parquet", "v*.parquet")
    assert len(job(pattern).run()["all"].table()) == 4
    assert COUNTED not in caplog.text
    assert len(job(pattern, stream=True).run()["all"].table()) == 4
    assert COUNTED in caplog.text
