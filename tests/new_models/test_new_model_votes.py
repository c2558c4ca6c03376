from pathlib import Path

import pandas as pd
import pytest

from p2l.errors import ConfigError, DataError
from p2l.new_models.new_model_votes import load_new_model_votes, votes_of_models
from p2l.outcomes import BT, GRK

KNOWN = ("ant", "bee", "cat")


def write(path: Path, *pairs: tuple[str, str], winner: str = "model_a", times: int = 1) -> str:
    rows = [(f"prompt {i}", a, b, winner) for i, (a, b) in enumerate(pairs * times)]
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_json(path, orient="records", lines=True)
    return str(path)


def test_new_names_are_found_and_votes_between_known_models_left_out(tmp_path):
    file = write(tmp_path / "v.jsonl", ("ant", "zeta"), ("ant", "bee"), ("dog", "cat"), ("dog", "zeta"))
    votes, new = load_new_model_votes(file, KNOWN, None, GRK)
    assert new == ("dog", "zeta")
    assert votes.models == (*KNOWN, "dog", "zeta")
    assert len(votes) == 3
    assert votes_of_models(votes) == [1, 0, 1, 2, 2]


def test_a_model_that_is_ranked_already_is_refused_unless_refit(tmp_path):
    file = write(tmp_path / "v.jsonl", ("ant", "zeta"), ("ant", "bee"))
    with pytest.raises(ConfigError, match="ranks ant already; give refit=true"):
        load_new_model_votes(file, KNOWN, ["ant", "zeta"], GRK)
    votes, new = load_new_model_votes(file, KNOWN, ["ant", "zeta"], GRK, refit=True)
    assert (new, len(votes)) == (("ant", "zeta"), 2)


def test_votes_with_no_new_model(tmp_path):
    with pytest.raises(DataError, match="no model in .* is new: the checkpoint ranks all"):
        load_new_model_votes(write(tmp_path / "v.jsonl", ("ant", "bee")), KNOWN, None, GRK)


def test_a_new_model_without_votes(tmp_path):
    file = write(tmp_path / "v.jsonl", ("ant", "zeta"))
    with pytest.raises(DataError, match="no vote of .* is about 'dog'; it has no other new model. Give new="):
        load_new_model_votes(file, KNOWN, ["dog", "zeta"], GRK)
    with pytest.raises(DataError, match="no vote of .* is about 'dog'; models .* does not rank: zeta. Give new="):
        load_new_model_votes(file, KNOWN, ["dog"], GRK)
    with pytest.raises(DataError, match="no vote of .* is about 'cat'; models .* does not rank: zeta"):
        load_new_model_votes(file, KNOWN, ["cat"], GRK, refit=True)


def test_a_new_model_whose_votes_carry_no_evidence(tmp_path):
    rows = [("p", "ant", "zeta", "model_a"), ("q", "bee", "zeta", "model_b"), ("r", "ant", "dog", "tie")]
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match="no vote carries evidence under 'bt' on dog"):
        load_new_model_votes(str(tmp_path / "v.csv"), KNOWN, ["dog", "zeta"], BT)


def test_ties_are_no_evidence_for_bt(tmp_path):
    file = write(tmp_path / "v.jsonl", ("ant", "zeta"), winner="tie")
    assert len(load_new_model_votes(file, KNOWN, None, GRK)[0]) == 1
    with pytest.raises(DataError, match="no train vote carries evidence under 'bt'"):
        load_new_model_votes(file, KNOWN, None, BT)


def test_a_model_that_is_neither_known_nor_new_is_reported(tmp_path):
    pairs = (("ant", "zeta"), ("ant", "zebra"))
    with pytest.raises(DataError, match=r"unknown model: 1 .row 1.[\s\S]*not in the list of models: correct the name"):
        load_new_model_votes(write(tmp_path / "v.jsonl", *pairs), KNOWN, ["zeta"], GRK)
    votes, _ = load_new_model_votes(write(tmp_path / "v.jsonl", *pairs), KNOWN, ["zeta"], GRK, max_skipped_share=0.5)
    assert len(votes) == 1


def test_a_name_given_twice(tmp_path):
    with pytest.raises(ConfigError, match="names a model twice: zeta"):
        load_new_model_votes(write(tmp_path / "v.jsonl", ("ant", "zeta")), KNOWN, ["zeta", "zeta"], GRK)


def test_a_missing_column(tmp_path):
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\nant,zeta,model_a\n")
    with pytest.raises(DataError, match="no column prompt"):
        load_new_model_votes(str(tmp_path / "v.csv"), KNOWN, None, GRK)


def test_columns_and_labels_of_its_own(tmp_path):
    (tmp_path / "v.csv").write_text("q,left,right,choice\nhi,ant,zeta,first\nho,zeta,bee,first\nhu,ant,zeta,none\n")
    columns = {"prompt": "q", "model_a": "left", "model_b": "right", "winner": "choice"}
    options = {"columns": columns, "winner_map": {"first": "model_a", "none": None}, "max_skipped_share": 0.5}
    votes, new = load_new_model_votes(str(tmp_path / "v.csv"), KNOWN, None, GRK, **options)
    assert new == ("zeta",) and votes.outcome_shares.argmax(axis=1).tolist() == [0, 0]
    with pytest.raises(DataError, match="no column prompt"):
        load_new_model_votes(str(tmp_path / "v.csv"), KNOWN, None, GRK)


def test_a_new_name_that_is_a_known_one_in_other_letters_is_said(tmp_path, caplog):
    load_new_model_votes(write(tmp_path / "v.jsonl", ("ant", "BEE"), ("cat", "BEE")), KNOWN, None, GRK)
    assert "BEE and bee" in caplog.text and "each is a model of its own" in caplog.text
