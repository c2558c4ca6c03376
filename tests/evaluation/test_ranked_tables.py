"""Tables of votes with coefficients: every published shape, and errors of malformed ones."""

import json

import numpy as np
import pandas as pd
import pytest

from p2l.errors import DataError
from p2l.evaluation.ranked_tables import prompt_index, ranked_votes, read_checkpoint_file
from p2l.outcomes import BT, GRK

MODELS = ("ant", "bee", "cat", "dog")


def frame(**changes: object) -> pd.DataFrame:
    columns = {
        "prompt": ["x", ["x", "y"], "x"],
        "model_a": ["ant", "ant", "dog"],
        "model_b": ["dog", "cat", "ant"],
        "winner": ["model_a", "tie", "tie (bothbad)"],
        "betas": [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]],
        "eta": [0.5, 0.25, 0.5],
        "language": ["Chinese", "English", "Chinese"],
    }
    return pd.DataFrame({**columns, **changes})


def test_votes_keep_their_rows_rankings_and_prompts() -> None:
    data = ranked_votes(frame(), GRK, MODELS, "here")
    votes = data.votes
    assert votes.models == MODELS and data.frame["language"].tolist() == ["Chinese", "English", "Chinese"]
    assert "betas" not in data.frame
    assert votes.rankings.coefs[votes.ranking_index].tolist() == frame()["betas"].tolist()
    assert votes.rankings.eta[votes.ranking_index].tolist() == [0.5, 0.25, 0.5]
    assert len(votes.rankings.coefs) == 2 and votes.prompt_index.tolist() == [0, 1, 0]
    assert votes.counts().tolist() == [2, 1]


@pytest.mark.parametrize("nested", [lambda eta: eta, lambda eta: [eta], lambda eta: [[eta]]])
def test_numbers_may_be_nested_in_lists_of_one(nested) -> None:
    shaped = frame(eta=[nested(eta) for eta in frame()["eta"]], betas=[[betas] for betas in frame()["betas"]])
    votes = ranked_votes(shaped, GRK, MODELS, "here").votes
    assert votes.rankings.eta[votes.ranking_index].tolist() == [0.5, 0.25, 0.5]
    assert votes.rankings.coefs[0].tolist() == [1, 2, 3, 4]


def test_coefficients_are_read_by_the_names_that_the_table_gives_them() -> None:
    named = frame(models=[list(MODELS)] * 3)
    assert ranked_votes(named, GRK, MODELS, "here").votes.models == MODELS
    with pytest.raises(DataError, match="here ranks 4 models, of which number 2 is bee, but cat in the list of 4"):
        ranked_votes(named, GRK, ("ant", "cat", "bee", "dog"), "here")
    with pytest.raises(DataError, match="row 2 ranks other models"):
        ranked_votes(frame(models=[list(MODELS), list(MODELS), ["ant", "cat", "bee", "dog"]]), GRK, MODELS, "here")
    others = frame(models=[["ant", "dog"], ["ant", "cat"], ["dog", "ant"]])  # of the vote, not of the ranking
    assert len(ranked_votes(others, GRK, MODELS, "here").votes.battles) == 3


def test_only_the_models_of_the_table_are_kept_where_asked_for() -> None:
    backwards = MODELS[::-1]  # coefficients are in the order of the list, the models of the table sorted
    votes = ranked_votes(frame(), BT, backwards, "here", only_met=True).votes
    assert votes.models == ("ant", "cat", "dog")
    assert votes.rankings.coefs[votes.ranking_index].tolist() == [[4, 2, 1], [1, 1, 0], [4, 2, 1]]
    assert [votes.models[i] for i in votes.battles.model_b] == ["dog", "cat", "ant"]


def test_pandas_json_by_columns_is_read_in_the_order_of_the_rows(tmp_path) -> None:
    path = tmp_path / "checkpoint.json"
    shaped = frame().assign(last_hidden_state=[[0.0] * 3] * 3).rename(columns={"betas": "coefs"})
    shaped.index = [10, 2, 30]
    shaped.to_json(path)
    read = read_checkpoint_file(str(path))
    assert "last_hidden_state" not in read and read["language"].tolist() == ["Chinese", "English", "Chinese"]
    assert ranked_votes(read, GRK, MODELS, "here").votes.rankings.coefs.tolist() == [[1, 2, 3, 4], [0, 1, 0, 1]]
    for orient, lines in (("records", False), ("records", True)):
        shaped.to_json(path, orient=orient, lines=lines)
        assert len(read_checkpoint_file(str(path))) == 3


def test_a_vote_that_is_none_is_left_out_with_its_ranking() -> None:
    many = pd.concat([frame()] * 20, ignore_index=True)
    many.loc[1, "winner"] = None
    data = ranked_votes(many, BT, MODELS, "here")
    assert len(data.votes) == 59 and data.votes.prompt_index[:2].tolist() == [0, 0]


def test_votes_without_prompts_are_prompts_of_their_own() -> None:
    assert prompt_index(frame().drop(columns="prompt")).tolist() == [0, 1, 2]
    assert prompt_index(pd.DataFrame({"prompt": [np.array(["x"]), ["x"], "x"]})).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"betas": [[1.0] * 4, [1.0] * 3, [1.0] * 4]}, r"here: betas has 3 numbers; the model list names 4 \(row 1\)"),
        ({"betas": [[1.0] * 4, [1.0, np.nan, 1, 1], [None] * 4]}, r"finite numbers; 2 rows hold NaN.*\(row 1, 2\)"),
        ({"betas": [[1.0] * 4, None, [1.0] * 4]}, r"betas has 1 numbers.*\(row 1\)"),
        ({"betas": [["a"] * 4] * 3}, "betas contains a non-numeric value"),
        ({"eta": [0.0, None, 0.0]}, r"eta must be finite numbers; 1 rows.*\(row 1\)"),
        ({"eta": [0.0, [1.0, 2.0], 0.0]}, r"eta has 2 numbers; a ranking has 1"),
        ({"model_a": ["ant", "emu", "dog"]}, r"unknown model: emu not in the model list \(4 names\), in 1 rows \(1\)"),
        ({"winner": ["q", "r", "s"]}, "the table contains no valid votes"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(changes, message) -> None:
    with pytest.raises(DataError, match=message):
        ranked_votes(frame(**changes), GRK, MODELS, "here")


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"needs columns betas \(or coefs\); it has prompt, "):
        ranked_votes(frame().drop(columns="betas"), BT, MODELS, "here")
    with pytest.raises(DataError, match="and eta, which family grk needs"):
        ranked_votes(frame().drop(columns="eta"), GRK, MODELS, "here")


def test_cut_or_other_json_is_an_error(tmp_path) -> None:
    path = tmp_path / "checkpoint.json"
    frame().to_json(path)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=r"is not complete JSON \(.*line 1, column"):
        read_checkpoint_file(str(path))
    path.write_text(json.dumps({"coefs": [1, 2]}))
    with pytest.raises(DataError, match="as pandas' to_json writes"):
        read_checkpoint_file(str(path))
    with pytest.raises(DataError, match="no file at"):
        read_checkpoint_file(str(tmp_path / "none.json"))
