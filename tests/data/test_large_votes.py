"""Votes with prompts that are read in blocks are those of the table read whole."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data import BatchPlan, FileVotes, VoteLoader, VoteTable, encode_prompts, load_votes
from p2l.data.adapters import SOFT_COLUMNS
from p2l.data.encoded_file import encode_once
from p2l.data.large_votes import in_memory, load_large_votes
from p2l.data.readers import blocked_table
from p2l.data.stored_prompts import StoredPrompts
from p2l.errors import DataError
from p2l.models import ModelRecipe
from tests.data.test_count_battles import PLAIN, WEIGHTED, soft, with_values

LONG = "word " * 30
PROMPTS = ["What is 1+1?", "Größe 日本 😀", LONG, "\tlast one ", "a:b", "1:a:b"]
TURNS = [["first", "second"], ["What is 1+1?"], [LONG, ""], ["a", "b"], ["ab"]]
CHATS = [
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
    [{"role": "user", "content": "x"}],
]
IMAGE = [
    {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}]}
]
PLAIN_VOTES = PLAIN.assign(prompt=np.resize(PROMPTS, 40))
TIMED = PLAIN_VOTES.assign(timestamp=np.arange(40)[::-1], conversation_id=[f"c{row // 2}" for row in range(40)])


def lists(values: list, rows: int = 40) -> pd.Series:
    return pd.Series([values[row % len(values)] for row in range(rows)], dtype=object)


def with_conversations(a: list, b: list) -> pd.DataFrame:
    return PLAIN.assign(conversation_a=lists(a), conversation_b=lists(b))


def one_hot() -> pd.DataFrame:
    winners = {f"winner_{name}": (PLAIN["winner"] == name).astype(int) for name in ("model_a", "model_b", "tie")}
    return PLAIN.drop(columns="winner").assign(prompt='["hi", "ho"]', **winners)


TABLES: dict[str, tuple[pd.DataFrame, dict[str, object]]] = {
    "texts": (PLAIN_VOTES, {}),
    "lists of turns": (PLAIN.assign(prompt=lists(TURNS)), {}),
    "chats": (PLAIN.assign(prompt=lists(CHATS)), {}),
    "other columns": (TIMED.assign(explanation=LONG, tags=lists([["x"], ["y"]]), score=0.5), {}),
    "bad prompts": (with_values(PLAIN_VOTES, "prompt", {1: None, 9: " ", 38: ""}), {"max_skipped_share": 0.2}),
    "too many bad prompts": (with_values(PLAIN_VOTES, "prompt", dict.fromkeys(range(9), "")), {}),
    "prompts of skipped rows": (
        with_values(PLAIN_VOTES, "winner", dict.fromkeys(range(6), None)),
        {"max_skipped_share": 0.2},
    ),
    "unknown labels": (with_values(PLAIN_VOTES, "winner", {30: "who?"}), {}),
    "scores, the tie in the last row": (PLAIN_VOTES.assign(winner=[*np.resize(["1", "0"], 39), "0.5"]), {}),
    "weights": (WEIGHTED.assign(prompt=PLAIN_VOTES["prompt"]), {"max_skipped_share": 0.2}),
    "soft votes": (soft(PLAIN_VOTES), {"max_skipped_share": 0.2}),
    "one-hot winners": (one_hot(), {"max_skipped_share": 0.5}),
    "known models": (PLAIN_VOTES, {"models": ["dog", "ant", "cat"], "max_skipped_share": 0.9}),
    "names of columns": (
        PLAIN_VOTES.rename(columns={"prompt": "question", "winner": "choice"}),
        {"columns": {"prompt": "question", "winner": "choice"}},
    ),
    "no prompts": (PLAIN, {}),
    "a few lists": (with_values(PLAIN_VOTES, "prompt", {11: '["a", "b"]', 30: '["c"]'}), {}),
    "a few texts in brackets": (with_values(PLAIN_VOTES, "prompt", {12: "[a, b]", 39: "{a,b}", 20: "[a]"}), {}),
    "brackets alone": (PLAIN.assign(prompt=lists(["[a, b]", "[c]"])), {}),
    "soft votes against winners": (
        PLAIN_VOTES.assign(**dict(zip(SOFT_COLUMNS, (0.1, 0.2, 0.3, 0.4), strict=True))),
        {},
    ),
    "images": (PLAIN.assign(prompt=lists([*CHATS, IMAGE])), {}),
    "conversations with images": (with_conversations([*CHATS, IMAGE], [*CHATS, IMAGE]), {}),
    "conversations, few of which differ": (with_conversations([CHATS[0]] * 39 + [CHATS[1]], CHATS[:1]), {}),
    "conversations that differ": (with_conversations(CHATS, CHATS[:1]), {}),
}


def read_whole(path: Path, options: dict) -> tuple[VoteTable, str] | str:
    try:
        votes, report = load_votes(path, **options)
    except DataError as error:
        return str(error)
    return votes, str(report)


def read_in_blocks(path: Path, options: dict) -> tuple[VoteTable, str] | str:
    table = replace(blocked_table(path), block_rows=7, json_bytes=400)
    try:
        votes, report = load_large_votes(table, path.parent / "cache", **options)
    except DataError as error:
        return str(error)
    return votes, str(report)


def check_equal(found: VoteTable, expected: VoteTable) -> None:
    assert tuple(found.prompts) == tuple(expected.prompts) and found.models == expected.models
    for name in ("prompt_index", "model_a", "model_b", "outcome_shares", "weight"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    for name in set(found.frame) - {"model_a", "model_b", "winner"}:
        values, same = (table.frame[name].astype(object).fillna("missing").tolist() for table in (found, expected))
        assert values == same, name


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_blocks_are_the_whole(name: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if kind == "parquet" and "images" in name:
        pytest.skip("Arrow has no lists of texts and dicts")
    frame, options = TABLES[name]
    path = tmp_path / f"votes.{kind}"
    frame.to_parquet(path, row_group_size=9) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
    expected, warnings = read_whole(path, options), [record.getMessage() for record in caplog.records]
    caplog.clear()
    found = read_in_blocks(path, options)
    assert [record.getMessage() for record in caplog.records] == warnings
    if isinstance(expected, str):
        assert isinstance(found, str) and found.startswith(expected)
        assert not list((tmp_path / "cache").glob(".*"))  # nothing half written
        return
    assert not isinstance(found, str), found
    assert found[1] == expected[1]
    check_equal(found[0], expected[0])
    assert isinstance(found[0].prompts, StoredPrompts)


def test_long_values_stay_in_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TABLES["other columns"][0].to_parquet(tmp_path / "votes.parquet")
    with caplog.at_level("INFO"):
        votes, _ = read_in_blocks(tmp_path / "votes.parquet", {})
    assert set(votes.frame) == {"model_a", "model_b", "winner", "timestamp", "conversation_id", "score"}
    assert "not kept in memory: columns explanation, tags" in caplog.text
    kept = in_memory(votes).frame
    assert kept["prompt"].tolist() == TIMED["prompt"].tolist()
    assert kept["winner"].tolist() == TIMED["winner"].tolist()
    assert kept["model_a"].tolist() == TIMED["model_a"].str.strip().tolist()


def test_prompts_are_read_by_position_slice_and_selection(tmp_path: Path) -> None:
    PLAIN_VOTES.to_parquet(tmp_path / "votes.parquet")
    prompts = read_in_blocks(tmp_path / "votes.parquet", {})[0].prompts
    assert prompts[1] == (PROMPTS[1],) and prompts[-1] == (PROMPTS[-1],) and len(prompts) == 6
    assert prompts[1:4] == [(text,) for text in PROMPTS[1:4]] and prompts[6:] == []
    some = prompts.select(np.array([4, 0, 2]))
    assert list(some) == [(PROMPTS[4],), (PROMPTS[0],), (PROMPTS[2],)]
    assert list(pickle.loads(pickle.dumps(some))) == list(some)
    assert some.digest != prompts.digest == prompts.select(np.arange(6)).digest
    with pytest.raises(IndexError):
        prompts[6]


def test_a_table_loaded_twice_is_stored_once(tmp_path: Path) -> None:
    PLAIN_VOTES.to_parquet(tmp_path / "votes.parquet")
    first, second = (read_in_blocks(tmp_path / "votes.parquet", {})[0].prompts for _ in range(2))
    assert first.path == second.path and len(list((tmp_path / "cache").iterdir())) == 1
    assert list(first) == list(second)


@pytest.mark.parametrize("split_by", ["auto", "time", "random", "prompt", "conversation"])
def test_training_gets_the_same_votes_and_batches(
    split_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: ModelRecipe
) -> None:
    votes = TIMED.assign(prompt=[f"{text} {row // 2}" for row, text in enumerate(TIMED["prompt"])])
    votes.to_parquet(tmp_path / "votes.parquet")
    source = FileVotes(
        str(tmp_path / "votes.parquet"),
        val_share=0.3,
        split_by=split_by,
        train_share=0.9,
        cache_dir=str(tmp_path / "c"),
    )
    expected = source.load()
    monkeypatch.setattr("p2l.data.table_blocks.LARGE_ROWS", 10)
    found = source.load()
    check_equal(found.train, expected.train)
    check_equal(found.val, expected.val)
    assert isinstance(found.train.prompts, StoredPrompts) and isinstance(found.val.prompts, tuple)
    assert found.val.frame["prompt"].tolist() == expected.val.frame["prompt"].tolist()
    encoder, plan = tiny_recipe.encoder(), BatchPlan(batch_size=8, token_budget=300, shuffle="prompts")
    loaders = (
        VoteLoader(found.train, encode_once(encoder, found.train.prompts), plan, world_size=2),
        VoteLoader(expected.train, encode_prompts(encoder, expected.train.prompts), plan, world_size=2),
    )
    for ours, theirs in zip(*loaders, strict=True):
        assert ours.prompts.input_ids.tolist() == theirs.prompts.input_ids.tolist()
        assert [x.tolist() for x in ours.battle] == [x.tolist() for x in theirs.battle]
