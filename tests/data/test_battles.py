"""Battles without prompts: the same rows are good, and say the same, as in a vote table."""

import re

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from p2l.data.battle_table import BattleTable, load_battles
from p2l.data.column_advice import advise_columns
from p2l.data.vote_table import VoteTable, load_votes, validate_votes
from p2l.errors import DataError

ROWS = [
    ("ant", "bee", "model_a", 1.0),
    ("bee", "ant", "tie", 2.0),
    ("ant", "ant", "tie", 1.0),  # against itself
    ("ant", None, "tie", 1.0),
    ("ant", "bee", "nobody", 1.0),
    ("cat", "bee", "tie (bothbad)", -1.0),
    ("cat", " ", "model_b", 1.0),
    ("cat", "bee", "model_b", 0.5),
]
FRAME = pd.DataFrame(ROWS, columns=["model_a", "model_b", "winner", "weight"])


def test_bad_rows_by_reason_and_number() -> None:
    table, report = load_battles(FRAME, max_skipped_share=1.0)
    assert report.skipped == {
        "missing value": [3, 6],
        "model against itself": [2],
        "unknown winner": [4],
        "bad weight": [5],
    }
    assert report.kept_rows().tolist() == [0, 1, 7]
    assert table.models == ("ant", "bee", "cat")
    assert table.model_a.tolist() == [0, 1, 2] and table.model_b.tolist() == [1, 0, 1]
    assert table.outcome_shares.argmax(axis=1).tolist() == [0, 2, 1] and table.weight.tolist() == [1.0, 2.0, 0.5]


@pytest.mark.parametrize("winner", [["model_a"], np.array(["model_a", "tie"]), {"winner": "model_a"}])
def test_a_winner_of_several_parts_is_unknown(winner: object) -> None:
    winners = pd.Series([winner, "model_b", None, "both_bad"], dtype=object)
    table, report = load_battles(FRAME.iloc[[0] * 4].reset_index(drop=True).assign(winner=winners), max_skipped_share=1)
    assert report.skipped == {"missing value": [2], "unknown winner": [0]}
    assert table.outcome_shares.argmax(axis=1).tolist() == [1, 3]


def test_a_vote_table_agrees() -> None:
    with_prompts = FRAME.assign(prompt="?")
    _, report = validate_votes(with_prompts, max_skipped_share=1.0)
    table, ours = load_battles(FRAME, max_skipped_share=1.0)
    assert report == ours
    votes = VoteTable.from_frame(with_prompts.iloc[report.kept_rows()]).battles
    for name in ("model_a", "model_b", "outcome_shares", "weight"):
        np.testing.assert_array_equal(getattr(votes, name), getattr(table, name))


def test_models_of_bad_rows_only_are_no_models() -> None:
    table, _ = load_battles(pd.concat([FRAME.head(2), FRAME.iloc[[5]]]), max_skipped_share=1.0)
    assert table.models == ("ant", "bee")


def test_a_list_of_models_decides_the_order_and_who_is_known() -> None:
    table, report = load_battles(FRAME.iloc[[0, 1, 7]], models=["bee", "ant"], max_skipped_share=1.0)
    assert report.skipped == {"unknown model": [2]}
    assert table.model_a.tolist() == [1, 0] and table.models == ("bee", "ant")


def test_columns_of_any_kind(tmp_path) -> None:
    numbers = pd.DataFrame({"model_a": [1, 2], "model_b": [2, 1], "winner": ["model_a", "tie"]})
    for frame in (numbers, numbers.astype({"model_a": "category"}), numbers.astype(object)):
        assert BattleTable.from_frame(frame).models == ("1", "2")
    numbers.to_parquet(tmp_path / "votes.parquet")
    assert len(load_battles(str(tmp_path / "votes.parquet"))[0]) == 2


def test_too_many_bad_rows_are_an_error() -> None:
    with pytest.raises(
        DataError, match=r"the vote table: more than 5.00% of the rows are not valid votes\n8 rows, 3 kept"
    ):
        load_battles(FRAME)
    with pytest.raises(DataError, match="has no column winner; a vote table needs model_a, model_b, winner"):
        load_battles(FRAME.drop(columns="winner"))


@pytest.mark.parametrize(
    ("names", "option"),
    [
        ({"model_a": "Model A", "winner": "verdict"}, "columns={model_a: Model A, winner: verdict}"),
        ({"model_b": "LLM 2", "winner": "Mark"}, "columns={model_b: LLM 2, winner: ...}"),
        ({"model_a": "Model-1", "winner": "Better?"}, 'columns={model_a: Model-1, winner: "Better?"}'),
        ({"model_b": "model b (right)", "winner": "CHOICE"}, "columns={model_b: ..., winner: CHOICE}"),
        ({"winner": "Which is better?"}, 'columns={winner: "Which is better?"}'),
        ({"winner": "Best!"}, 'columns={winner: "Best!"}'),
    ],
)
def test_columns_of_other_names_are_guessed(names, option) -> None:
    """The option can be given as it stands."""
    named = FRAME.rename(columns=names)
    with pytest.raises(DataError, match=re.escape(f"give '{option}', in training 'data.columns=...'")):
        load_battles(named)
    if "..." not in option:
        columns = OverridesParser.create().parse_override(option).value()
        assert load_battles(named, columns=columns, max_skipped_share=1.0)[0].models == ("ant", "bee", "cat")


def test_bad_weights_and_soft_votes_are_shown() -> None:
    rows = [{"model_a": "x", "model_b": "y", "winner": "tie", "weight": w} for w in ("1", "3 kg", "-2", "-2", "inf")]
    _, report = load_battles(rows, max_skipped_share=0.9)
    assert "bad weight: 4 (row 1, 2, 3, 4): '-2' 2, '3 kg' 1, 'inf' 1" in str(report)
    soft = {"p_model_a": 0.1, "p_model_b": "half", "p_tie": 0.2, "p_both_bad": 0.0}
    _, report = load_battles([rows[0], {**rows[0], **soft}], max_skipped_share=0.9)
    assert "bad soft vote: 1 (row 1): '0.1, half, 0.2, 0.0' 1" in str(report)


def test_votes_without_weight_are_refused() -> None:
    rows = [{"prompt": "p", "model_a": "x", "model_b": "y", "winner": "tie", "weight": 0.0}] * 3
    for load in (load_battles, load_votes):
        with pytest.raises(DataError, match="the vote table: all votes have weight 0"):
            load(rows)


def test_soft_votes_stand_without_a_winner() -> None:
    frame = pd.DataFrame({"prompt": "x", "model_a": ["a", "b", "a", "b"], "model_b": "c"})
    frame = frame.assign(p_model_a=[0.5, 0.1, None, "half"], p_model_b=[0.2, 0.1, None, 0.2])
    frame = frame.assign(p_tie=[0.2, 0.1, None, 0.2], p_both_bad=[0.1, 0.7, None, 0.1])
    votes, report = load_votes(frame, max_skipped_share=0.5)
    np.testing.assert_allclose(votes.outcome_shares, [[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], rtol=1e-6)
    assert list(votes.frame["winner"]) == ["model_a", "tie (bothbad)"]
    assert report.skipped == {"missing value": [2], "bad soft vote": [3]}
    assert "missing value: 1 (row 2): 'winner' 1" in str(report)


def test_missing_values_are_counted_by_column() -> None:
    rows = [{"prompt": "x", "model_a": "a", "model_b": "b", "winner": "tie"}] * 4
    gaps = [{**rows[0], "prompt": None}, {**rows[0], "model_b": ""}, {**rows[0], "model_b": None, "winner": None}]
    _, report = load_votes([*rows, *gaps], max_skipped_share=0.5)
    assert report.details == {"missing value": {"prompt": 1, "model_b": 2, "winner": 1}}


def test_a_soft_vote_against_its_winner_is_said(caplog: pytest.LogCaptureFixture) -> None:
    shares = [(0.9, 0.1, 0.0), (0.2, 0.7, 0.1), (0.5, 0.5, 0.0), (0.3, 0.2, 0.5)]
    rows = [
        {
            "model_a": "x",
            "model_b": "y",
            "winner": "model_a",
            "p_model_a": a,
            "p_model_b": b,
            "p_tie": t,
            "p_both_bad": 0,
        }
        for a, b, t in shares
    ]
    table, _ = load_battles(rows)
    assert "2 of 4 votes name a winner that is not the most probable outcome" in caplog.text
    assert "such as model_a with p_model_a 0.2, p_model_b 0.7" in caplog.text
    np.testing.assert_allclose(table.outcome_shares[1], [0.2, 0.7, 0.1, 0], rtol=1e-6)
    caplog.clear()
    load_battles(rows[:1])
    assert not caplog.text
    load_battles([{"model_a": "x", "model_b": "y", "winner": "model_a", "p_b": 0.75}])
    assert "1 of 1 votes name a winner" in caplog.text and "p_model_b 0.75" in caplog.text


@pytest.mark.parametrize(
    ("names", "prompt", "winner"),
    [
        (["question_id", "turns", "Winner?"], "turns", '"Winner?"'),
        (["prompt_id", "winner_model_a"], "...", "..."),
        (["questionId", "PromptTokens", "winner_score"], "...", "..."),
        (["Prompt ID", "The prompt", "better_reason"], "The prompt", "..."),
        (["promptText", "best answer"], "promptText", "best answer"),
        (["question", "question_type", "Winner (A or B)"], "question", "..."),
    ],
)
def test_a_column_that_only_tells_of_another_is_not_guessed(names: list[str], prompt: str, winner: str) -> None:
    assert f"{{prompt: {prompt}, winner: {winner}}}" in advise_columns(["prompt", "winner"], names)
