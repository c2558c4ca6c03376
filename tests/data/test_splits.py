from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from p2l.data.splits import SplitBy, chosen_split, keep_prompts, split_votes
from p2l.data.vote_sources import FileVotes
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError
from p2l.leaderboard import fit


def votes(num_votes: int, **columns: object) -> VoteTable:
    """Votes numbered by row; three in a row share a prompt, two a conversation; the last is the only one on "zoe"."""
    row = np.arange(num_votes)
    frame = pd.DataFrame(
        {
            "row": row,
            "prompt": [f"prompt {number // 3}" for number in row],
            "conversation_id": row // 2,
            "model_a": ["ant"] * (num_votes - 1) + ["zoe"],
            "model_b": "bee",
            "winner": "tie",
            **columns,
        }
    )
    return VoteTable.from_frame(frame)


def rows(table: VoteTable) -> list[int]:
    return table.frame["row"].tolist()


@pytest.mark.parametrize("by", ["time", "random", "prompt", "conversation"])
@given(num_votes=st.integers(12, 40), share=st.floats(0.2, 0.8), seed=st.integers(0, 5))
def test_every_vote_is_on_one_side_in_its_order(by: SplitBy, num_votes: int, share: float, seed: int) -> None:
    table = votes(num_votes)
    train, held_out = split_votes(table, share, by, seed)
    assert sorted(rows(train) + rows(held_out)) == list(range(num_votes))
    assert rows(train) == sorted(rows(train)) and rows(held_out) == sorted(rows(held_out))
    assert train.models == held_out.models == table.models
    again = split_votes(table, share, by, seed)
    assert rows(again[1]) == rows(held_out)


@pytest.mark.parametrize(("by", "group"), [("prompt", "prompt"), ("conversation", "conversation_id")])
@given(num_votes=st.integers(12, 40), share=st.floats(0.2, 0.8))
def test_a_group_is_never_on_both_sides(by: SplitBy, group: str, num_votes: int, share: float) -> None:
    table = votes(num_votes)
    train, held_out = split_votes(table, share, by)
    assert not set(train.frame[group]) & set(held_out.frame[group])
    assert held_out.frame[group].nunique() == round(share * table.frame[group].nunique())


def test_prompts_that_differ_only_in_case_and_spaces_lie_on_one_side() -> None:
    prompts = [f"{' ' * (i % 4)}{'WHAT is' if i % 3 else 'what  is'} {i // 12}?" for i in range(120)]
    train, held_out = split_votes(votes(120, prompt=prompts), 0.3, "prompt")
    sides = [{" ".join(prompt.split()).lower() for prompt in part.frame["prompt"]} for part in (train, held_out)]
    assert list(map(len, sides)) == [7, 3] and not sides[0] & sides[1]
    turns = [f"what is {i % 10}?" + " " * (i // 20) for i in range(120)]  # the last votes repeat all the prompts
    assert chosen_split(votes(120, prompt=turns), 0.1) == "prompt"


def test_random_splits_differ_with_the_seed() -> None:
    assert rows(split_votes(votes(60), 0.5, "random", 1)[1]) != rows(split_votes(votes(60), 0.5, "random", 2)[1])
    assert len(split_votes(votes(60), 0.25, "random")[1]) == 15


TIMES = {
    "number": [5.0, 1.0, 4.0, 2.0, 3.0],
    "date": pd.to_datetime(["2025-01-05", "2025-01-01", "2025-01-04", "2025-01-02", "2025-01-03"]),
    "text": ["2025-01-05", "2025-01-01T10:00:00", "2025-01-04 01:00", "2025-01-02T00:00:00Z", "2025-01-03"],
}


@pytest.mark.parametrize("kind", TIMES)
def test_time_holds_out_the_latest(kind: str) -> None:
    train, held_out = split_votes(votes(5, timestamp=TIMES[kind]), 0.4, "time")
    assert (rows(train), rows(held_out)) == ([1, 3, 4], [0, 2])


def test_time_falls_back_on_the_order_of_the_file() -> None:
    assert rows(split_votes(votes(5), 0.4, "time")[1]) == [3, 4]
    assert rows(split_votes(votes(5, timestamp=1.0), 0.4, "time")[1]) == [3, 4]


@pytest.mark.parametrize("gap", [None, "yesterday"])
def test_a_gap_in_time_is_an_error(gap: str | None) -> None:
    with pytest.raises(DataError, match=r"timestamp is missing or unreadable in 1 votes \(the first: row 1\)"):
        split_votes(votes(3, timestamp=["2025-01-01", gap, "2025-01-02"]), 0.4, "time")


def test_conversations_need_their_column() -> None:
    table = votes(6)
    bare = VoteTable.from_frame(table.frame.drop(columns="conversation_id"))
    with pytest.raises(DataError, match=r"no column conversation_id to split by; the columns are row, prompt"):
        split_votes(bare, 0.5, "conversation")
    with pytest.raises(DataError, match="conversation_id is missing or unreadable in 2 votes"):
        split_votes(votes(4, conversation_id=["a", None, "b", None]), 0.5, "conversation")
    with pytest.raises(DataError, match=r"conversation_id: the id '1e\+17' was rounded before"):
        split_votes(votes(4, conversation_id=["a", "1e+17", "b", "c"]), 0.5, "conversation")


def test_an_empty_side_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no vote is left to hold out: 1\.00% of 6 votes, split by random"):
        split_votes(votes(6), 0.01, "random")
    with pytest.raises(DataError, match="no vote is left to train on"):
        split_votes(votes(3), 0.9, "prompt")


EMPTY = {
    "one conversation": ("conversation", {"conversation_id": "c"}, "it has 1 conversation, .*: give another way"),
    "few conversations": ("conversation", {}, r"3 conversations, and 0 .*: give another share \(such as 0\.67\) or"),
    "few prompts": ("prompt", {}, r"2 prompts, and 0 of them .*such as 0\.50\) or another way to split"),
    "few votes": ("time", {}, r"split by time; it has 6 votes, and 0 of them would be held out: give another share"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_side_says_what_there_is_and_what_to_do(name: str) -> None:
    by, columns, message = EMPTY[name]
    with pytest.raises(DataError, match=message):
        split_votes(votes(6, **columns), 0.05, by)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 20.0, float("nan")])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_votes(votes(6), share, "random")


def test_an_unknown_way_to_split_is_an_error() -> None:
    with pytest.raises((ConfigError, TypeCheckError), match="'week'"):  # which of the two: whether types are checked
        split_votes(votes(6), 0.5, "week")


@given(num_votes=st.integers(12, 60), shares=st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)), seed=st.integers(0, 5))
def test_a_smaller_share_of_the_prompts_is_part_of_a_larger_one(num_votes, shares, seed) -> None:
    table = votes(num_votes)
    small, large = (keep_prompts(table, share, seed) for share in sorted(shares))
    assert set(rows(small)) <= set(rows(large))
    assert len(large.prompts) == round(max(shares) * len(table.prompts))
    for part in (small, large):
        assert rows(part) == sorted(rows(part))
        assert part.models == table.models
        # all votes of a prompt that is kept
        assert rows(part) == [row for row in range(num_votes) if (f"prompt {row // 3}",) in part.prompts]


def test_another_seed_keeps_other_prompts() -> None:
    assert rows(keep_prompts(votes(90), 0.5, 0)) != rows(keep_prompts(votes(90), 0.5, 1))


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_a_share_of_the_prompts_that_is_none(share: float) -> None:
    with pytest.raises(ConfigError, match="share of the training prompts"):
        keep_prompts(votes(12), share)


def test_no_prompt_left() -> None:
    with pytest.raises(DataError, match="no vote is left to train on: 1.00% of 4 prompts"):
        keep_prompts(votes(12), 0.01)


@pytest.mark.parametrize("blank", ["", " ", "\t", None, float("nan")])
def test_blank_conversation_ids_are_gaps(blank: object) -> None:
    table = votes(4, conversation_id=["a", blank, "b", blank])
    with pytest.raises(DataError, match=r"conversation_id is missing or unreadable in 2 votes \(the first: row 1\)"):
        split_votes(table, 0.5, "conversation")


@pytest.mark.parametrize("gap", ["nan", "None", " NULL ", "<NA>", []])
def test_the_text_of_a_missing_id_is_a_gap_for_splits_as_for_clusters(gap: object) -> None:
    table = votes(4, conversation_id=["a", gap, "b", gap])
    with pytest.raises(DataError, match=r"conversation_id is missing or unreadable in 2 votes \(the first: row 1\)"):
        split_votes(table, 0.5, "conversation")
    with pytest.raises(DataError, match=r"conversation_id is missing in 2 of 4 votes, first in vote 1, 3"):
        fit(table, "rk", cluster="conversation_id")


def test_lists_and_ids_with_spaces_are_conversations() -> None:
    ids = [[1], [1], [2, "x"], [2, "x"], {"id": 3}, {"id": 3}, "c", " c", "d", "d"]
    held_out = rows(split_votes(votes(10, conversation_id=ids), 0.4, "conversation")[1])
    pairs = {row // 2 for row in held_out}
    assert len(pairs) == 2 and held_out == [row for row in range(10) if row // 2 in pairs]


def test_a_conversation_of_many_votes_is_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = ["unknown" if row % 4 == 0 else f"c{row}" for row in range(100)]
    votes(100, conversation_id=ids, winner=["model_a", "model_b"] * 50).frame.to_json(
        tmp_path / "votes.jsonl", orient="records", lines=True
    )
    said = "conversation_id 'unknown' stands in 25 of 100 votes (25%), which count as one group"
    FileVotes(str(tmp_path / "votes.jsonl"), val_share=0.2, split_by="conversation").load()
    assert said in caplog.text
    caplog.clear()
    FileVotes(str(tmp_path / "votes.jsonl"), val_share=0.2).load()
    assert said not in caplog.text  # split by time, no conversation matters
