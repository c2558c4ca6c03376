"""Leaderboards of tables that are counted in blocks, and when they are."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from p2l.commands.leaderboard import LeaderboardJob
from p2l.commands.leaderboard_votes import LeaderboardSource, LeaderboardVotes
from p2l.data.battle_counts import NeedsEachVoteError
from p2l.data.battle_table import CheckedBattles
from p2l.data.categories import find_category
from p2l.errors import ConfigError, DataError
from p2l.leaderboard import fit
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


def read(votes: Path, *categories: str, stream: bool = False) -> LeaderboardVotes:
    source = LeaderboardSource(str(votes), "train", 0.05, None, None, stream, each_vote=(), redrawn=False)
    return source.load([find_category(name, {"all": {}}) for name in categories])


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


@pytest.mark.parametrize(
    ("columns", "repeated"),
    [
        ({}, 0),  # many votes of a pair are alike
        ({"prompt": [f"prompt {at}" for at in range(399)] + ["prompt 398"], "winner": "tie", "model_a": "a"}, 1),
        ({"prompt": ["the same"] * 398 + [None, None], "winner": "tie", "model_a": "a", "model_b": "b"}, 397),
        ({"conversation_id": [at // 2 for at in range(400)], "winner": "A", "model_a": "a", "model_b": "b"}, 200),
        ({"prompt": ["the same", ["the", "same"]] * 200, "winner": "A", "model_a": "a", "model_b": "b"}, 398),
    ],
)
def test_repeated_votes_are_said(
    columns: dict[str, object], repeated: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = write_votes(tmp_path / "votes.parquet").assign(**columns)
    if "model_a" in columns:
        frame["model_b"] = "b"
    frame.to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    read(tmp_path / "votes.jsonl")
    said = [record.getMessage() for record in caplog.records if "repeat an earlier one" in record.getMessage()]
    assert [f"votes.jsonl: {repeated:,} votes" in one for one in said] == [True] * (repeated > 0)


def test_what_a_table_says_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not once more for each category."""
    soft = {"p_model_a": 0.1, "p_model_b": 0.9, "p_tie": 0.0, "p_both_bad": 0.0, "winner": "model_a"}
    write_votes(tmp_path / "votes.parquet").assign(**soft, Weight=2).to_parquet(tmp_path / "votes.parquet")
    votes = read(tmp_path / "votes.parquet", "all", "math=true", "math=false")
    for _, part in votes.by_category:
        assert isinstance(part, CheckedBattles)
        fit(part, "bt")
    assert caplog.text.count("the column 'Weight' is not read") == 1
    assert caplog.text.count("400 of 400 votes name a winner that is not the most probable outcome") == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_category_without_weight_is_left_out(stream: bool, tmp_path: Path) -> None:
    frame = write_votes(tmp_path / "votes.parquet")
    frame.assign(weight=frame["math"].astype(float)).to_parquet(tmp_path / "votes.parquet")
    found = dict(read(tmp_path / "votes.parquet", "all", "math=false", "math=true", stream=stream).by_category)
    assert len(found["math=true"].battles if not stream else found["math=true"]) == 200
    assert isinstance(found["math=false"], DataError) and "all votes have weight 0" in str(found["math=false"])
    frame.assign(weight=0).to_parquet(tmp_path / "votes.parquet")
    with pytest.raises(DataError, match=r"votes\.parquet: all votes have weight 0"):
        read(tmp_path / "votes.parquet", stream=stream)
