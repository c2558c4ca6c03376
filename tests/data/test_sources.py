import logging
import re
from pathlib import Path

import pandas as pd
import pytest

from p2l.data.vote_evidence import with_evidence
from p2l.data.vote_sources import FileVotes, VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.outcomes import FAMILIES, OutcomeFamily, get_family

WINNERS = ["model_a", "model_b", "tie", "tie (bothbad)"]


def frame(num_votes: int = 20, models: tuple[str, str] = ("ant", "bee")) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in range(num_votes)],
            "model_a": models[0],
            "model_b": models[1],
            "winner": [WINNERS[i % 4] for i in range(num_votes)],
        }
    )


def write(folder: Path, name: str, votes: pd.DataFrame) -> str:
    votes.to_parquet(folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def texts(table: VoteTable) -> list[str]:
    return [turns[0] for turns in table.prompts]


def test_training_votes_alone(tmp_path: Path) -> None:
    splits = FileVotes(write(tmp_path, "train", frame())).load()
    assert [name for name, _ in splits.items()] == ["train"]
    assert len(splits.train) == 20 and splits.get("val") is None


def test_the_latest_share_is_held_out(tmp_path: Path) -> None:
    splits = FileVotes(write(tmp_path, "train", frame()), val_share=0.25).load()
    assert texts(splits.train) == [f"prompt {i}" for i in range(15)]
    assert splits.val is not None and texts(splits.val) == [f"prompt {i}" for i in range(15, 20)]
    assert splits.val.models == splits.train.models


def test_a_share_is_drawn_from_what_is_left_to_train_on(tmp_path: Path) -> None:
    train = write(tmp_path, "train", frame())
    splits = FileVotes(train, val_share=0.25, train_share=0.4).load()
    assert len(splits.train) == 6 and set(texts(splits.train)) <= {f"prompt {i}" for i in range(15)}
    assert splits.val is not None and texts(splits.val) == [f"prompt {i}" for i in range(15, 20)]
    assert splits.train.models == splits.val.models


def test_files_of_their_own_rule_out_a_held_out_share(tmp_path: Path) -> None:
    train, val = write(tmp_path, "train", frame()), write(tmp_path, "val", frame(8))
    splits = FileVotes(train, val=val, test=val, val_share=0.25).load()
    assert {name: len(table) for name, table in splits.items()} == {"train": 20, "val": 8, "test": 8}


def test_validation_votes_on_models_never_trained_on_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = write(tmp_path, "train", frame())
    val = write(tmp_path, "val", pd.concat([frame(9), frame(1, ("ant", "yak"))]))
    with caplog.at_level(logging.INFO, "p2l"):
        splits = FileVotes(train, val=val, max_skipped_share=0.1).load()
    assert splits.val is not None and len(splits.val) == 9
    assert splits.val.models == ("ant", "bee")
    assert "unknown model: 1 (row 9)" in caplog.text
    with pytest.raises(DataError, match="more than 5.00% of the rows"):
        FileVotes(train, val=val).load()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_votes_without_evidence_are_dropped_and_counted(
    family: OutcomeFamily, caplog: pytest.LogCaptureFixture
) -> None:
    table = VoteTable.from_frame(frame())
    with caplog.at_level(logging.INFO, "p2l"):
        splits = with_evidence(VoteSplits(table, val=table), family)
    assert splits.val is not None
    if family.name == "bt":
        assert texts(splits.train) == texts(splits.val) == [f"prompt {i}" for i in range(20) if i % 4 < 2]
        assert "train: 10 of 20 votes are ties, which carry no evidence under bt" in caplog.text
    else:
        assert splits.train is table and splits.val is table and not caplog.records


def test_nothing_but_ties_is_an_error_under_bt() -> None:
    ties = VoteTable.from_frame(frame().query("winner == 'tie'"))
    with pytest.raises(DataError, match="no train vote carries evidence under 'bt'; all 5 are ties"):
        with_evidence(VoteSplits(ties), get_family("bt"))


@pytest.mark.parametrize("outcome", ["tie", "tie (bothbad)"])
def test_training_votes_of_one_outcome_tell_nothing(outcome: str) -> None:
    alike = VoteTable.from_frame(frame().assign(winner=outcome))
    with pytest.raises(DataError, match=rf"all 20 training votes are {re.escape(outcome)}: nothing tells"):
        with_evidence(VoteSplits(alike), get_family("grk"))
    assert with_evidence(VoteSplits(VoteTable.from_frame(frame()), val=alike), get_family("grk")).val is alike


def test_columns_and_labels_are_mapped_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("question,model_a,model_b,winner\n007,0613,x,first\n8,x,0613,2\n")
    source = FileVotes(
        str(tmp_path / "v.csv"), columns={"prompt": "question"}, winner_map={"first": "model_a", 2: "model_b"}
    )
    train = source.load().train
    assert (train.models, train.prompts) == (("0613", "x"), (("007",), ("8",)))
    assert train.outcome_shares.argmax(axis=1).tolist() == [0, 1]
