"""Synthetic rows in the schemas of the public releases, written to disk and read back as a user would."""

import json
from pathlib import Path

import pandas as pd
import pytest

from p2l.data.adapters import adapt
from p2l.data.readers import read_table
from p2l.data.vote_table import validate_votes
from p2l.errors import DataError
from p2l.types import OUTCOMES


def through_file(path: Path, rows: list[dict[str, object]]) -> pd.DataFrame:
    pd.DataFrame(rows).to_parquet(path / "votes.parquet")
    return read_table(str(path / "votes.parquet"))


def turns(frame: pd.DataFrame) -> list[object]:
    return [list(prompt) if isinstance(prompt, (list, tuple)) else prompt for prompt in frame["prompt"]]


def arena_55k_row(prompt: str, winner: tuple[int, int, int]) -> dict[str, object]:
    return {
        "id": 30192,
        "model_a": "gpt-4-1106-preview",
        "model_b": "gpt-4-0613",
        "prompt": prompt,
        "response_a": '["an answer"]',
        "response_b": '["another"]',
        "winner_model_a": winner[0],
        "winner_model_b": winner[1],
        "winner_tie": winner[2],
    }


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_arena_55k(tmp_path: Path, suffix: str) -> None:
    rows = [
        arena_55k_row(json.dumps(["Is it right?", "Ok, and\nthen?"]), (1, 0, 0)),
        arena_55k_row(json.dumps(["[not json]"]), (0, 1, 0)),
        arena_55k_row('["half a pair \\ud83d"]', (0, 0, 1)),
        arena_55k_row("[null]", (0, 0, 1)),
        arena_55k_row('["no winner"]', (0, 0, 0)),
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "votes.csv", index=False)
    frame.to_parquet(tmp_path / "votes.parquet")
    votes = adapt(read_table(str(tmp_path / f"votes.{suffix}")))
    assert turns(votes)[:3] == [["Is it right?", "Ok, and\nthen?"], ["[not json]"], ["half a pair \ufffd"]]
    assert votes["winner"].fillna("unread").tolist() == ["model_a", "model_b", "tie", "tie", "unread"]
    assert set(votes.columns) == {"id", "model_a", "model_b", "prompt", "winner"}
    _, report = validate_votes(votes, max_skipped_share=1.0)
    assert report.skipped == {"non-string turn": [3], "missing value": [4]}
    with pytest.raises(DataError, match=r"""row 5: this list was cut; got '\["cut'"""):
        adapt(pd.DataFrame([*rows, arena_55k_row('["cut', (1, 0, 0))]))


def arena_100k_row(conversation: list[dict[str, str]] | str, winner: str) -> dict[str, object]:
    return {
        "question_id": "58210e39b3fd4441a2bd4a518bb44c2d",
        "model_a": "chatgpt-4o-latest-20240808",
        "model_b": "gemini-1.5-flash-api-0514",
        "winner": winner,
        "conversation_a": conversation,
        "conversation_b": conversation,
        "turn": 2,
        "anony": True,
        "language": "English",
        "tstamp": 1722541200.0,
        "conv_metadata": {"sum_user_tokens": 12, "bold_count_a": {"**": 0, "__": 0}},
        "is_code": False,
        "is_refusal": False,
        "dedup_tag": {"high_freq": False, "sampled": True},
        "category_tag": {"math_v0.1": {"math": False}, "if_v0.1": {"if": False, "score": 1}},
        "judge_hash": "b6b1",
    }


def test_arena_100k(tmp_path: Path) -> None:
    conversation = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "answer"},
    ]
    winners = ["model_a", "model_b", "tie", "tie (bothbad)"]
    votes = adapt(through_file(tmp_path, [arena_100k_row(conversation, winner) for winner in winners]))
    assert turns(votes) == [["first", "second"]] * 4
    assert votes["winner"].tolist() == winners
    assert votes["timestamp"].tolist() == [1722541200.0] * 4
    assert votes["conversation_id"][0] == "58210e39b3fd4441a2bd4a518bb44c2d"
    assert votes["category_tag"][0]["if_v0.1"] == {"if": False, "score": 1}
    assert not {"conversation_a", "conversation_b", "tstamp", "question_id"} & set(votes.columns)


def test_conversations_held_as_json_text_or_broken() -> None:
    text = json.dumps([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
    votes = adapt(pd.DataFrame([arena_100k_row(broken, "tie") for broken in (text, "[{", None, '["hi"]')]))
    assert turns(votes) == [["hi"], None, None, None]


def part(text: str | None, kind: str = "text") -> dict[str, object]:
    return {"type": kind, "text": text, "image": None if kind == "text" else "data:", "mimeType": None}


def arena_140k_row(questions: list[list[dict[str, object]]], before: list[str], winner: str) -> dict[str, object]:
    messages = [
        message
        for content in questions
        for message in (
            {"role": "user", "content": content},
            {"role": "assistant", "content": [part("an answer")], "num_tokens": 3},
        )
    ]
    session = [
        {
            "user": {"role": "user", "content": content},
            "model_side_a": {"role": "assistant", "content": [part("an answer")]},
            "model_side_b": {"role": "assistant", "content": [part("another")]},
        }
        for content in [*([part(text)] for text in before), *questions]
    ]
    return {
        "id": "2bda0922-cd07-483a-af40-db1b3ee53310",
        "model_a": "gpt-4.1-2025-04-14",
        "model_b": "o3-mini",
        "winner": winner,
        "evaluation_session_id": "78544189",
        "evaluation_order": 1 + len(before),
        "conversation_a": messages,
        "conversation_b": messages,
        "full_conversation": session,
        "conv_metadata": {"sum_assistant_a_tokens": 3, "sum_assistant_b_tokens": 3},
        "category_tag": {"math_v0.1": {"math": False}},
        "language": "en",
        "is_code": False,
        "timestamp": pd.Timestamp("2025-07-01 12:00:00"),
    }


def test_arena_140k(tmp_path: Path) -> None:
    rows = [
        arena_140k_row([[part("What is 1 + 1?")]], [], "model_a"),
        arena_140k_row([[part("Look:"), part(None, "image"), part("What is it?")], [part("Sure?")]], [], "both_bad"),
        arena_140k_row([[part("Shorter, please")]], ["Write a poem"], "tie"),
    ]
    frame = through_file(tmp_path, rows)
    votes = adapt(frame)
    assert turns(votes) == [["What is 1 + 1?"], ["Look:\nWhat is it?", "Sure?"], ["Write a poem", "Shorter, please"]]
    assert votes["winner"].tolist() == ["model_a", "tie (bothbad)", "tie"]
    assert votes["conversation_id"].tolist() == ["78544189"] * 3
    assert not {"conversation_a", "conversation_b", "full_conversation"} & set(votes.columns)
    assert {"timestamp", "language", "category_tag", "is_code", "id"} <= set(votes.columns)
    assert turns(adapt(frame.drop(columns="full_conversation")))[2] == ["Shorter, please"]


LABELLED = [
    {"prompt": "a", "model_a": "bee", "model_b": "ant", "labels": [1, 0, 0]},
    {"prompt": "b", "model_a": "bee", "model_b": "ant", "labels": [0, 1, 0]},
    {"prompt": "c", "model_a": "ant", "model_b": "cat", "labels": [0, 2, 1]},
    {"prompt": "d", "model_a": "cat", "model_b": "bee", "labels": [2, 1, 2]},
    {"prompt": "e", "model_a": "cat", "model_b": "bee", "labels": [1, 2, 0]},
]


def test_p2l_training_labels(tmp_path: Path) -> None:
    votes = adapt(through_file(tmp_path, LABELLED))
    assert votes["winner"].tolist() == ["model_a", "model_b", "tie", "tie (bothbad)", "model_b"]
    assert "labels" not in votes.columns


def test_p2l_training_labels_of_two_are_winner_and_loser(tmp_path: Path) -> None:
    rows = [row | {"labels": row["labels"][:2]} for row in LABELLED]
    assert adapt(through_file(tmp_path, rows))["winner"].tolist() == [
        "model_a",
        "model_b",
        "model_a",
        "model_a",
        "model_b",
    ]


def test_p2l_training_winner_wins_over_labels(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "model_a": "ant", "model_b": "bee", "labels": [0, 1, 1], "winner": "tie (bothbad)"}]
    assert adapt(through_file(tmp_path, rows))["winner"].tolist() == ["tie (bothbad)"]


def test_p2l_training_labels_of_a_cut_table_are_an_error() -> None:
    with pytest.raises(DataError, match=r"row 0: labels \[0, 2\] do not match its models 'ant' and 'cat'.*2 in this"):
        adapt(pd.DataFrame(LABELLED[2:3]))


def test_p2l_training_rows_without_a_readable_label_are_skipped_later() -> None:
    labels = (None, [1], [1, 0, 7], [1, 0, None], [float("nan"), 0], ["ant", "bee"])
    bad = [*({"labels": label} for label in labels), {"model_a": None}]
    votes = adapt(pd.DataFrame(LABELLED + [LABELLED[0] | change for change in bad]))
    _, report = validate_votes(votes, max_skipped_share=1.0)
    assert report.skipped == {"missing value": [5, 6, 7, 8, 9, 10, 11]}


def test_judge_preferences_become_soft_votes() -> None:
    frame = pd.DataFrame({"prompt": "p", "model_a": "a", "model_b": "b", "p_b": [0.0, 0.25, 0.5, 1.0]})
    votes = adapt(frame)
    assert votes["winner"].tolist() == ["model_a", "model_a", "tie", "model_b"]
    assert votes["p_model_a"].tolist() == [1.0, 0.75, 0.5, 0.0]
    assert votes["p_model_b"].tolist() == frame["p_b"].tolist()
    assert votes[["p_tie", "p_both_bad"]].to_numpy().sum() == 0
    given = adapt(frame.assign(winner="model_b"))
    assert given["winner"].tolist() == ["model_b"] * 4


def test_a_judge_preference_outside_0_to_1_is_skipped() -> None:
    frame = pd.DataFrame({"prompt": "p", "model_a": "a", "model_b": "b", "p_b": [0.5, 1.5, -0.1], "winner": "model_a"})
    _, report = validate_votes(adapt(frame), max_skipped_share=1.0)
    assert report.skipped == {"bad soft vote": [1, 2]}


def test_a_vote_table_stays_as_it_is() -> None:
    rows = [
        {"prompt": ["a", "b"], "model_a": "x", "model_b": "y", "winner": outcome.value, "weight": 2.0, "mood": "good"}
        for outcome in OUTCOMES
    ]
    frame = pd.DataFrame(rows)
    pd.testing.assert_frame_equal(adapt(frame), frame)
    assert adapt(frame.replace("tie (bothbad)", "both_bad"))["winner"].tolist() == frame["winner"].tolist()


def test_winners_of_newer_releases_in_a_column_of_any_kind() -> None:
    frame = pd.DataFrame({"winner": ["both_bad", None, "tie"]})
    for kind in (object, "string", "category"):
        assert adapt(frame.astype(kind))["winner"].fillna("none").tolist() == ["tie (bothbad)", "none", "tie"]


def test_adapting_does_not_change_its_input() -> None:
    frame = pd.DataFrame([arena_55k_row('["a"]', (1, 0, 0))])
    before = frame.copy()
    adapt(frame)
    pd.testing.assert_frame_equal(frame, before)
