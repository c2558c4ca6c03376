"""What a table of votes holds, and what is doubtful about it and its split: small tables, counted by hand."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data.prompt_overlap import PromptOverlap
from p2l.data.splits import chosen_split, split_votes
from p2l.data.table_summary import connected_parts, summarise
from p2l.data.validation import Validator
from p2l.data.vote_checks import one_line, split_doubts, table_doubts
from p2l.data.vote_sources import FileVotes
from p2l.data.vote_table import VoteTable

Row = tuple[object, str, str, str]


def table(*rows: Row, **columns: object) -> VoteTable:
    frame = pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"])
    return VoteTable.from_frame(frame.assign(**columns))


def repeated_prompts(votes: int = 200, prompts: int = 57) -> VoteTable:
    """Votes on few prompts in turn: the last ones are on prompts of earlier ones."""
    names = ["x", "y", "z"]
    return table(*((f"p{i % prompts}", names[i % 3], names[(i + 1) % 3], "model_a") for i in range(votes)))


def test_a_summary_counted_by_hand() -> None:
    votes = table(
        ("hello", "a", "b", "model_a"),
        (["one", "two"], "b", "a", "model_a"),
        ("hello", "c", "d", "tie"),
        ("hello", "a", "b", "model_a"),
        ("bye", "d", "c", "tie (bothbad)"),
        timestamp=[1.7e9, 1.6e9, 1.65e9, 1.7e9, 1.68e9],
    )
    found = summarise(votes, count_tokens=lambda texts: [len(text.split()) for text in texts])
    assert (found.votes, found.weight, found.pairs, found.duplicates) == (5, None, 2, 1)
    assert found.outcomes == pytest.approx({"model_a": 0.6, "model_b": 0, "tie": 0.2, "tie (bothbad)": 0.2}, abs=1e-6)
    assert found.models == {"a": 3, "b": 3, "c": 2, "d": 2}
    assert found.rare == ("a", "b", "c", "d")
    assert (found.never_won, found.never_lost) == (("c", "d"), ("c", "d"))
    assert found.parts == (("a", "b"), ("c", "d"))
    assert (found.prompts, found.repeated, found.most_votes, found.turns) == (3, 1, 3, {1: 2, 2: 1})
    assert found.characters == {"median": 5, "90 %": 7, "99 %": 7, "max": 7}
    assert found.tokens == {"median": 1, "90 %": 2, "99 %": 2, "max": 2}
    assert (found.first, found.last) == ("2020-09-13T12:26:40", "2023-11-14T22:13:20")


@pytest.mark.parametrize(
    ("column", "first", "problem"),
    [
        (["2025-01-02T10:00:00Z", "2025-01-01"], "2025-01-01T00:00:00+00:00", None),
        ([1.7e12, 1.6e12], "2020-09-13T12:26:40", None),
        ([1.7e18, 1.6e18], "2020-09-13T12:26:40", None),
        ([3, 12], "3", None),
        ([20240131, 20240201], "2024-01-31T00:00:00+00:00", None),
        (["202401311205", "202401311206"], "2024-01-31T12:05:00+00:00", None),
        ([20241399, 20240201, 20239999], "20239999", None),  # mostly no dates: numbers like any other
        ([20241399, 20240201], None, "row 0 holds 20241399, which is none"),
        (["01/02/2025", "2025-01-01"], None, "day and month cannot be told apart"),
        ([None, "2025-01-01"], "2025-01-01T00:00:00+00:00", "missing in 1 of 2 votes"),
    ],
)
def test_times_of_every_unit(column, first, problem) -> None:
    found = summarise(table(*(("p", "a", "b", "tie"),) * len(column), timestamp=column))
    assert found.first == first
    assert problem in found.time_problem if problem else found.time_problem is None


def test_votes_of_another_session_repeat_nothing() -> None:
    rows = [("p", "a", "b", "tie")] * 3
    assert summarise(table(*rows)).duplicates == 2
    assert summarise(table(*rows, conversation_id=["1", "2", "2"])).duplicates == 1
    assert summarise(table(*rows, weight=[1, 2, 3])).duplicates == 0


def test_a_vote_with_its_sides_changed_is_a_repeated_one() -> None:
    same = [("p", "a", "b", "model_a"), ("p", "b", "a", "model_b"), ("q", "b", "a", "tie"), ("q", "a", "b", "tie")]
    assert summarise(table(*same)).duplicates == 2
    assert summarise(table(("p", "a", "b", "model_a"), ("p", "b", "a", "model_a"))).duplicates == 0


def test_parts_of_a_chain_and_of_models_without_votes() -> None:
    assert connected_parts(np.array([3, 1, 5]), np.array([1, 4, 0]), 7).tolist() == [1, 0, -1, 0, 0, 1, -1]


def test_overlap_and_models_without_training_votes() -> None:
    votes = table(*([("p", "a", "b", "tie")] * 2), ("q", "c", "b", "tie"), ("p", "a", "c", "tie"))
    train, held_out = votes.select(np.array([0, 1])), votes.select(np.array([2, 3]))
    overlap = PromptOverlap.of(train, held_out)
    assert overlap == PromptOverlap(prompts=1, of_prompts=2, votes=1, of_votes=2)
    doubts = list(split_doubts({"train": train, "val": held_out}))
    assert doubts[0] == "val: models without a training vote, whose rows stay untrained: c"
    assert doubts[1].startswith("val: 1 of 2 prompts (50 % of the votes) are trained on too")
    assert not list(split_doubts({"train": train, "val": votes.select(np.array([2])).select(np.array([0]))}))[1:]


@pytest.mark.parametrize(
    "name",
    [
        "#N/A",
        "#NAME?",
        "#REF!",
        "#NV",
        "#WERT!",
        "#N/D",
        "#VALEUR!",
        "#¡VALOR!",
        "#DIV/0!",
        "#\u0418\u041c\u042f?",
        "#\u041d/\u0414",
    ],
)
def test_errors_of_a_spreadsheet_as_names_and_prompts_are_a_doubt(name: str) -> None:
    (doubt, *_) = table_doubts("train", table(("p", name, "b", "tie"), ("p", "a", name, "tie")))
    assert doubt.startswith(f"train: {name} as a model's name is an error value of a spreadsheet; as a model it")
    doubts = list(table_doubts("train", table((name, "a", "b", "tie"), ("p", "a", "b", "tie"))))
    assert f"train: 1 of 2 prompts are error values of a spreadsheet, such as {name}; " in " ".join(doubts)


@pytest.mark.parametrize("name", ["#1", "#gpt", "gpt#A!", "# A", "#hashtag!", "C#", "#\u6a21!"])
def test_names_with_a_hash_are_no_errors(name: str) -> None:
    assert "spreadsheet" not in " ".join(table_doubts("train", table((name, name, "b", "tie"))))


def test_names_that_differ_in_spelling_alone_are_a_doubt() -> None:
    pairs = [("p", "GPT 4", "gpt-4", "tie"), ("p", "gpt_4", "gpt-4.1", "tie"), ("p", "a", "b", "tie")]
    doubts = " ".join(table_doubts("train", table(*pairs)))
    assert "1 names differ only in case, spaces, hyphens" in doubts and "GPT 4 and gpt-4 and gpt_4" in doubts
    assert "names differ" not in " ".join(table_doubts("train", table(("p", "a-1.5", "a-15", "tie"))))
    floats = " ".join(table_doubts("train", table(("p", "100.0", "300", "tie"), ("p", "100", "4.5", "tie"))))
    assert "100 and 100.0" in floats
    assert "names differ" not in " ".join(table_doubts("train", table(("p", "v4.0", "v4", "tie"))))


@pytest.mark.parametrize(
    "other",
    ["mode\u0301le-1", "mod\u00e8le\u200b-1", "mod\u00e8le\u20111", "\ufeffmod\u00e8le-1", "mod\u00e8le-\uff11"],
)
def test_names_that_look_alike_are_a_doubt(other: str) -> None:
    name = "mod\u00e9le-1" if "\u0301" in other else "mod\u00e8le-1"
    doubts = " ".join(table_doubts("train", table(("p", name, "b", "tie"), ("p", other, "b", "tie"))))
    assert "1 names differ only in" in doubts
    assert ("\\u200b" in doubts) == ("\u200b" in other)


@pytest.mark.parametrize(
    ("name", "other"), [("\u0430lpha-1", "alpha-1"), ("BETA", "\u0412\u0395\u03a4A"), ("gpt-\u043e1", "GPT o1")]
)
def test_names_in_other_alphabets_that_look_alike_are_a_doubt(name: str, other: str) -> None:
    doubts = " ".join(table_doubts("train", table(("p", name, "c", "tie"), ("p", other, "c", "tie"))))
    assert "1 names differ only in" in doubts and "letters of other alphabets" in doubts
    assert "names differ" not in " ".join(table_doubts("train", table(("p", "\u0448ar", "war", "tie"))))


def test_the_doubts_of_a_table_name_parts_and_rare_models() -> None:
    often = [(f"p{at}", "a", "b", "tie") for at in range(100)]
    parts, rare = table_doubts("train", table(*often, ("q", "c", "d", "model_a")))
    assert "2 parts that never met" in parts and parts.endswith("outside the largest (2 models): c, d")
    assert rare == "train: 2 of 4 models have fewer than 100 votes: c (1), d (1)"
    assert not list(table_doubts("train", table(*often, ("q", "a", "b", "model_a"))))
    assert one_line(table(("p", "a", "b", "tie"), ("q", "c", "b", "model_a"))) == (
        "2 votes on 2 prompts, 3 models (1 to 2 votes each); model_a 50%, tie 50%"
    )


def test_auto_holds_out_by_prompt_if_time_would_hold_out_known_prompts() -> None:
    repeated = repeated_prompts()
    assert chosen_split(repeated, 0.1) == "prompt"
    train, held_out = split_votes(repeated, 0.1)
    assert PromptOverlap.of(train, held_out).prompts == 0 and len(held_out.prompts) == 6
    assert PromptOverlap.of(*split_votes(repeated, 0.1, "time")).share == 1
    distinct = repeated_prompts(prompts=200)
    assert chosen_split(distinct, 0.1) == "time"
    assert [len(part) for part in split_votes(distinct, 0.1)] == [180, 20]
    # of so few prompts a tenth is none
    assert chosen_split(repeated_prompts(prompts=3), 0.1) == "time"


@pytest.mark.parametrize(("by", "said"), [("auto", "held out by prompt"), ("time", "20 prompts (100 % of the votes)")])
def test_training_says_what_it_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture, by: str, said: str) -> None:
    repeated_prompts().frame.to_parquet(tmp_path / "votes.parquet")
    with caplog.at_level(logging.INFO, logger="p2l"):
        FileVotes(str(tmp_path / "votes.parquet"), val_share=0.1, split_by=by).load()
    assert said in caplog.text
    assert "train: 180 votes on " in caplog.text and "val: 20 votes on " in caplog.text
    assert ("trained on too" in caplog.text) == (by == "time")


def validator(**options: object) -> Validator:
    defaults = {"val_share": 0.1, "split_by": "auto", "max_skipped_share": 0.05, "columns": None, "winner_map": None}
    return Validator(**{**defaults, "seed": 0, "count_tokens": None, **options})


def test_every_error_is_collected(tmp_path: Path) -> None:
    frame = repeated_prompts().frame.assign(winner=["first", "A", None, "dunno"] * 50)
    frame.to_csv(tmp_path / "v.csv", index=False)
    sources = {"votes": (str(tmp_path / "v.csv"), "train"), "val": (str(tmp_path / "none.csv"), "train")}
    found = validator(winner_map={"first": "model_b"}).validate(sources)
    assert [error.split(":")[0].rsplit("/")[-1] for error in found.errors] == ["v.csv", "v.csv", "val"]
    assert "'dunno' 50" in found.errors[0] and "more than 5.00%" in found.errors[1] and "no file" in found.errors[2]
    labels = {label.label: (label.outcome, label.rows) for label in found.tables["votes"].labels}
    assert labels == {"first": ("model_b", 50), "A": ("model_a", 50), "missing": (None, 50), "dunno": (None, 50)}
    assert found.tables["votes"].summary.votes == 100 and not found.splits


def test_the_ways_to_hold_out_votes_are_compared(tmp_path: Path) -> None:
    frame = repeated_prompts().frame.assign(conversation_id=lambda frame: frame["prompt"])
    frame.to_parquet(tmp_path / "v.parquet")
    source = {"votes": (str(tmp_path / "v.parquet"), "train")}
    found = validator().validate(source)
    assert [split.by for split in found.splits] == ["time", "random", "prompt", "conversation"]
    assert [split.overlap.share == 0 for split in found.splits] == [False, False, True, True]
    assert found.chosen == "prompt" and not any(doubt.startswith("split by") for doubt in found.doubts)
    found = validator(split_by="time").validate(source)
    assert "split by time: the votes have no column timestamp, so that the order of the file stands" in " ".join(
        found.doubts
    )
    assert "split by time: 20 of 20 prompts (100 % of the votes) are trained on too" in " ".join(found.doubts)
    frame.assign(timestamp="1/2/2025").to_parquet(tmp_path / "v.parquet")
    found = validator().validate(source)
    (error,) = found.errors  # training with these options would stop too
    assert error.startswith("split by time: timestamp is missing or unreadable") and "split_by=prompt" in error
