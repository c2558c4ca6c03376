"""Values of votes that are not what their column holds: they are never taken for gaps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data.battle_table import load_battles
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table
from p2l.data.vote_table import load_votes
from p2l.errors import DataError

VOTE = {"prompt": "p", "model_a": "ant", "model_b": "bee", "winner": "model_a"}


@pytest.mark.parametrize("text", ["0,7", "30%", "n/a", "NaN", "0.7 (sure)", [0.7]])
@pytest.mark.parametrize("has_winner", [True, False])
def test_a_soft_vote_that_is_no_number_is_no_hard_vote(text: object, has_winner: bool) -> None:
    left_out = [] if has_winner else ["winner"]
    row = {name: value for name, value in VOTE.items() if name not in left_out}
    table, report = load_votes([{**row, "p_b": "0.25"}, {**row, "p_b": text}], max_skipped_share=0.5)
    assert report.skipped == {"bad soft vote": [1]} and str(text) in str(report)
    np.testing.assert_allclose(table.outcome_shares, [[0.75, 0.25, 0, 0]])
    four = {"p_model_a": "0,6", "p_model_b": text, "p_tie": "0,0", "p_both_bad": "0,0"}
    _, report = load_battles([VOTE, {**VOTE, **four}], max_skipped_share=0.5)
    assert f"bad soft vote: 1 (row 1): '0,6, {text}, 0,0, 0,0' 1" in str(report)


@pytest.mark.parametrize("blank", ["", "  ", None, np.nan])
def test_an_empty_soft_vote_is_a_hard_vote(blank: object) -> None:
    table, report = load_battles([{**VOTE, "p_b": "0.25"}, {**VOTE, "p_b": blank}])
    assert not report.skipped
    np.testing.assert_allclose(table.outcome_shares, [[0.75, 0.25, 0, 0], [1, 0, 0, 0]])


def test_decimal_commas_are_an_error_that_says_how_numbers_are_written(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("prompt;model_a;model_b;winner;p_b\np;ant;bee;model_a;0,7\n")
    with pytest.raises(DataError, match=r"(?s)bad soft vote: 1 \(row 0\): 'missing, 0,7.*such as 0\.7"):
        load_votes(str(path))
    pd.DataFrame([{**VOTE, "p_b": "0,7"}] * 3).to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    blocks = blocked_table(str(tmp_path / "votes.jsonl"))
    assert blocks is not None
    with pytest.raises(DataError, match=r"bad soft vote: 3 \(row 0, 1, 2\): 'missing, 0,7"):
        count_battles(blocks)


def one_hot(*flags: object, **more: object) -> dict[str, object]:
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    return {**{name: VOTE[name] for name in ("prompt", "model_a", "model_b")}, **dict(zip(names, flags)), **more}


SPELLINGS_OF_FLAGS = (
    *(bool, str, int, float),
    *(lambda flag: str(flag).upper(), lambda flag: str(float(flag)), lambda flag: "yes" if flag else "no"),
)


@pytest.mark.parametrize("spell", SPELLINGS_OF_FLAGS)
def test_one_hot_winners_of_all_spellings(spell, tmp_path: Path) -> None:
    flags = [(True, False, False), (False, True, False), (False, False, True)]
    frame = pd.DataFrame([one_hot(*map(spell, row)) for row in flags])
    frame.drop(columns="prompt").to_csv(tmp_path / "votes.csv", index=False)
    for source in (frame, frame.drop(columns="prompt"), str(tmp_path / "votes.csv")):
        table, report = load_battles(source)
        np.testing.assert_array_equal(table.outcome_shares, np.eye(4)[:3])
        assert not report.skipped
    table, _ = load_battles(frame.drop(columns="winner_tie").head(2))
    np.testing.assert_array_equal(table.outcome_shares, np.eye(4)[:2])


@pytest.mark.parametrize("flags", [(1, 1, 0), ("maybe", "no", "no"), (0.5, 0.5, 0), (1, None, 0), (-1, 1, 1)])
def test_one_hot_winners_that_are_none_are_shown(flags: tuple[object, ...]) -> None:
    with pytest.raises(DataError, match=rf"unknown labels in column winner, 1 of 2 rows: 'winner_model_a {flags[0]}, "):
        load_battles([one_hot(1, 0, 0), one_hot(*flags)], max_skipped_share=0.9)
    _, report = load_battles([one_hot(1, 0, 0), one_hot(0, 0, 0), one_hot(None, " ", None)], max_skipped_share=0.9)
    assert report.skipped == {"missing value": [1, 2]}


@pytest.mark.parametrize("winner", ["model_b", "B", "bee", " Right ", "tie", "both_bad"])
def test_a_winner_against_its_one_hot_columns_is_an_error(winner: str) -> None:
    rows = [one_hot(1, 0, 0, winner="model_a")] * 99 + [one_hot(1, 0, 0, winner=winner)]
    with pytest.raises(
        DataError, match="unknown labels in column winner, 1 of 100 rows: '.* but winner_model_a is 1' 1"
    ):
        load_battles(rows)


def test_a_winner_completes_its_one_hot_columns() -> None:
    rows = [
        one_hot(1, 0, 0, winner="ant"),
        one_hot(0, 0, 1, winner="tie (bothbad)"),
        one_hot(0, 0, 0, winner="both_bad"),
        one_hot(0, 1, 0, winner=None),
        one_hot(0, 1, 0, winner="first"),
    ]
    table, _ = load_battles(rows, winner_map={"first": "model_b"})
    np.testing.assert_array_equal(table.outcome_shares, np.eye(4)[[0, 3, 3, 1, 1]])


@pytest.mark.parametrize("side", ["model_a", "model_b"])
@pytest.mark.parametrize("name", [["ant"], {"name": "ant"}, np.array(["ant"]), [], ("ant", "wasp"), {"ant"}])
def test_a_model_that_is_no_name_is_an_error(side: str, name: object) -> None:
    for load in (load_votes, load_battles):
        with pytest.raises(DataError, match=rf"column {side}: expected a name as text.* got .*(ant|\[\])"):
            load(pd.DataFrame([VOTE, {**VOTE, side: name}]))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_model_that_is_no_name_is_an_error_in_blocks(suffix: str, tmp_path: Path) -> None:
    frame, path = pd.DataFrame([{**VOTE, "model_b": {"name": "bee"}}] * 2), tmp_path / f"votes.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_json(path, orient="records", lines=True)
    blocks = blocked_table(str(path))
    assert blocks is not None
    with pytest.raises(DataError, match=r"column model_b: expected a name as text.* got \{'name': 'bee'\} \(dict\)"):
        count_battles(blocks)


@pytest.mark.parametrize("conversation", [["q1", "a1"], [1, 2], {"q": "a"}, [["q1"]], [None], [{"text": "q"}]])
def test_a_conversation_without_messages_is_shown(conversation: object, caplog: pytest.LogCaptureFixture) -> None:
    row = {"model_a": "ant", "model_b": "bee", "winner": "tie"}
    chat = [{"role": "user", "content": "q"}]
    with pytest.raises(
        DataError, match="column conversation_a: expected a list of messages with role and content.*row 0"
    ):
        load_votes([{**row, "conversation_a": conversation}] * 2)
    rows = [{**row, "conversation_a": value} for value in (chat, conversation, [])]
    _, report = load_votes(rows, max_skipped_share=0.9)
    assert report.skipped == {"missing value": [1], "empty prompt": [2]}
    assert "1 of 3 cells hold no list of messages and count as missing values; row 1 holds" in caplog.text
