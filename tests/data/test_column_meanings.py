"""Columns that look like those that p2l reads: said, not passed over; keys of ``columns`` that are mistyped: errors."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data import FileVotes, load_votes
from p2l.data.count_battles import count_battles
from p2l.data.prompt_overlap import PromptOverlap
from p2l.data.readers import blocked_table
from p2l.data.vote_checks import table_doubts
from p2l.errors import DataError

ROWS = [
    {"prompt": f"prompt {at}", "model_a": "ant", "model_b": "bee", "winner": ("model_a", "model_b", "tie")[at % 3]}
    for at in range(12)
]


@pytest.mark.parametrize(
    ("column", "meaning"),
    [
        ("Weight", "weight"),
        ("weights", "weight"),
        ("P_B", "p_b"),
        ("Time Stamp", "timestamp"),
        ("P Model A", "p_model_a"),
        ("created_at", "timestamp"),
        ("Date", "timestamp"),
        ("timestmp", "timestamp"),
        ("conversation_idd", "conversation_id"),
    ],
)
def test_a_column_under_another_spelling_is_said(column: str, meaning: str, caplog: pytest.LogCaptureFixture) -> None:
    table, _ = load_votes([{**row, column: 0.5} for row in ROWS])
    assert f"the column {column!r} is not read; if it is {meaning}" in caplog.text
    assert f"columns={{{meaning}: {column}}}" in caplog.text
    assert (table.weight == 1).all()


def test_columns_that_are_read_or_chosen_are_not_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{**row, "weight": 2.0, "Weight": 0.5, "wordcount": 3} for row in ROWS]
    assert (load_votes(rows)[0].weight == 2).all()
    rows = [{**row, "Weight": 0.5} for row in ROWS]
    assert (load_votes(rows, columns={"weight": "Weight"})[0].weight == 0.5).all()
    assert "is not read" not in caplog.text


def test_votes_that_are_counted_in_blocks_say_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "votes.parquet"
    pd.DataFrame([{**row, "Weight": 0.5} for row in ROWS]).to_parquet(path)
    table = blocked_table(str(path), "train")
    assert table is not None
    count_battles(table)
    assert caplog.text.count("the column 'Weight' is not read") == 1


@pytest.mark.parametrize(
    ("key", "meant"), [("weigth", "weight"), ("Prompt", "prompt"), ("modela", "model_a"), ("promt", "prompt")]
)
def test_a_mistyped_meaning_is_an_error(key: str, meant: str) -> None:
    with pytest.raises(DataError, match=f"p2l reads no column '{key}'; did you mean '{meant}'"):
        load_votes([{**row, "w": 0.5} for row in ROWS], columns={key: "w"})


@pytest.mark.parametrize("key", ["label", "prompt_id", "model"])
def test_a_key_near_a_column_that_is_there_is_a_category(key: str) -> None:
    rows = [{**row, "language": "en", "x": "news"} for row in ROWS]
    assert (load_votes(rows, columns={key: "x"})[0].frame[key] == "news").all()


@pytest.mark.parametrize(("key", "meant"), [("label", "labels"), ("tstmp", "tstamp"), ("question_ids", "question_id")])
def test_a_key_near_a_name_of_releases_that_is_missed_is_an_error(key: str, meant: str) -> None:
    rows = [{name: value for name, value in row.items() if name != "winner"} | {"x": 1} for row in ROWS]
    with pytest.raises(DataError, match=f"p2l reads no column '{key}'; did you mean '{meant}'"):
        load_votes(rows, columns={key: "x"})


SOFT = {"p_model_a": 0.2, "p_model_b": 0.5, "p_tie": 0.2, "p_both_bad": 0.1}


@pytest.mark.parametrize("missing", ["winner", "weight"])
def test_two_soft_votes_of_a_row_must_agree(missing: str, tmp_path: Path) -> None:
    rows = [{**{name: value for name, value in row.items() if name != missing}, **SOFT, "p_b": 0.5} for row in ROWS]
    table, _ = load_votes(rows)
    assert np.allclose(table.outcome_shares, [0.2, 0.5, 0.2, 0.1])
    rows[7] |= {"p_b": 0.4}
    with pytest.raises(DataError, match=r"soft votes twice.* differ in 1 rows \(row 7 first: 0\.4 and 0\.5\)"):
        load_votes(rows)
    pd.DataFrame(rows).to_parquet(tmp_path / "votes.parquet")
    table = blocked_table(str(tmp_path / "votes.parquet"))
    assert table is not None
    with pytest.raises(DataError, match="soft votes twice"):
        count_battles(table)
    with pytest.raises(DataError, match="no column p_model_b, p_tie, p_both_bad"):
        load_votes([{**row, "p_b": 0.5, "p_model_a": 0.5} for row in ROWS])


def test_a_column_of_ones_own_may_have_any_name() -> None:
    table, _ = load_votes([{**row, "x": "news"} for row in ROWS], columns={"topic": "x"})
    assert (table.frame["topic"] == "news").all()


def test_prompts_that_differ_in_case_and_spaces_are_trained_on_too() -> None:
    held_out, _ = load_votes(
        [{**row, "prompt": f" {row['prompt'].upper()}\n"} for row in ROWS[:4]], models=["ant", "bee"]
    )
    train, _ = load_votes(ROWS)
    assert PromptOverlap.of(train, held_out) == PromptOverlap(4, 4, 4, 4)


def test_repeated_votes_are_said_when_training_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "votes.csv"
    pd.DataFrame([*ROWS, *ROWS[:6]]).to_csv(path, index=False)
    with caplog.at_level(logging.WARNING):
        FileVotes(str(path)).load()
    assert "train: 6 votes (33.3 %) repeat an earlier one" in caplog.text
    assert not [one for one in table_doubts("train", load_votes(ROWS)[0]) if "repeat" in one]
