"""Votes from traffic: stored on decisions, exported as a table that training reads."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from p2l.data.readers import read_table
from p2l.data.vote_table import validate_votes
from p2l.serving.router.router_command import main
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Running, model
from tests.waiting import wait_until

HEADERS = {"authorization": f"Bearer {KEY}"}


def decide(running: Running, name: str, prompt: str = "which is better?") -> str:
    """The decision of an answer by this model."""
    body = {"messages": [{"role": "user", "content": prompt}], "direct_model": name}
    answer = httpx.post(f"{running.base}/chat/completions", json=body, headers=HEADERS)
    return str(answer.headers["x-p2l-decision"])


def vote(running: Running, key: str = KEY, **fields: Any) -> httpx.Response:
    return httpx.post(f"{running.base}/feedback", json=fields, headers={"authorization": f"Bearer {key}"})


def router(start: Starter, place: str | Path, **options: Any) -> Running:
    url = start.upstream().url
    models = {"a": model(url), "b": model(url)}
    return start.router(models, {"keys": [{"name": "other", "key": "sk-other-0000"}]}, feedback=str(place), **options)


def export(folder: Path, config: Path) -> Any:
    out = folder / "votes.jsonl"
    arguments = ["--config", str(config), "--feedback", str(folder / "f.sqlite"), "--export-votes", str(out)]
    assert main(arguments) == 0
    return read_table(str(out))


def test_votes_become_a_table_for_training(start: Starter, tmp_path: Path) -> None:
    running = router(start, tmp_path / "f.sqlite", store_prompts=True)
    a, b, c = decide(running, "a"), decide(running, "b"), decide(running, "a")
    assert vote(running, decision=a, other_decision=b, winner="model_a").status_code == 201
    assert vote(running, decision=c, model_b="b", winner="tie (bothbad)", prompt=["one", "two"]).status_code == 201
    assert vote(running, decision=b, rating=-1).status_code == 201
    frame = export(tmp_path, running.config_path)
    kept, report = validate_votes(frame)
    assert not report.skipped and [list(prompt) for prompt in kept["prompt"]] == [["which is better?"], ["one", "two"]]
    assert kept[["model_a", "model_b", "winner"]].to_numpy().tolist() == [
        ["a", "b", "model_a"],
        ["a", "b", "tie (bothbad)"],
    ]


def test_without_the_option_a_prompt_comes_with_the_vote_or_not_at_all(start: Starter, tmp_path: Path) -> None:
    running = router(start, tmp_path / "f.sqlite")
    a, b, c = decide(running, "a", "secret prompt"), decide(running, "b"), decide(running, "a")
    vote(running, decision=a, other_decision=b, winner="model_b")
    vote(running, decision=c, other_decision=b, winner="tie", prompt="told")
    frame = export(tmp_path, running.config_path)
    assert [list(prompt) for prompt in frame["prompt"]] == [["told"]]
    assert b"secret prompt" not in b"".join(path.read_bytes() for path in tmp_path.glob("f.sqlite*"))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"decision": 5}, 400),
        ({"decision": "unknown", "rating": 1}, 404),
        ({"winner": "a"}, 400),
        ({"winner": "model_a"}, 400),
        ({"winner": "model_a", "model_b": "c"}, 400),
        ({"winner": "model_a", "model_b": "a"}, 400),
        ({"winner": "model_a", "model_b": "b", "other_decision": "x"}, 400),
        ({"winner": "model_a", "model_b": "b", "rating": 1}, 400),
        ({"winner": "model_a", "model_b": "b", "prompt": []}, 400),
        ({"rating": 2}, 400),
        ({"rating": True}, 400),
        ({"rating": 0.5}, 201),
    ],
)
def test_votes_are_checked(start: Starter, tmp_path: Path, fields: dict[str, Any], status: int) -> None:
    running = router(start, tmp_path / "f.sqlite")
    given = {"decision": decide(running, "a"), **fields} if fields else {}
    assert vote(running, **given).status_code == status


def test_once_and_by_the_key_that_asked(start: Starter, tmp_path: Path) -> None:
    running = router(start, tmp_path / "f.sqlite")
    decision = decide(running, "a")
    assert vote(running, "sk-other-0000", decision=decision, rating=1).status_code == 404
    assert [vote(running, decision=decision, rating=1).status_code for _ in range(2)] == [201, 409]


def test_a_pair_is_voted_on_once_in_either_order(start: Starter, tmp_path: Path) -> None:
    running = router(start, tmp_path / "f.sqlite")
    a, b, c = decide(running, "a"), decide(running, "b"), decide(running, "b")
    assert vote(running, decision=a, other_decision=b, winner="model_a").status_code == 201
    turned = vote(running, decision=b, other_decision=a, winner="model_b")
    assert turned.status_code == 409 and turned.json()["error"]["code"] == "already_voted"
    assert vote(running, decision=c, other_decision=a, winner="model_b").status_code == 409  # a against b's model
    other = decide(running, "a")
    assert vote(running, decision=b, other_decision=other, winner="model_b").status_code == 201


def test_a_locked_file_holds_up_nothing_but_votes(start: Starter, tmp_path: Path) -> None:
    """The lock lasts until a vote was refused; SQLite would wait longer for it than the requests here do."""
    running = router(start, tmp_path / "f.sqlite")
    before = decide(running, "a")
    with closing(sqlite3.connect(tmp_path / "f.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        during = decide(running, "a")
        refused = vote(running, decision=before, rating=1)
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "feedback_unavailable"
        other.execute("ROLLBACK")
    assert vote(running, decision=before, rating=1).status_code == 201
    wait_until(lambda: vote(running, decision=during, rating=1).status_code != 404)  # until the decision is written
    assert vote(running, decision=during, rating=1).status_code == 409


def test_off_by_default(start: Starter) -> None:
    running = start.router({"a": model(start.upstream().url)})
    assert vote(running, decision="x", rating=1).status_code == 404


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"winer": "model_a", "rating": 1}, "unknown field 'winer'; did you mean 'winner'?"),
        ({"winner": "model_a", "model_b": "b", "promt": "x"}, "unknown field 'promt'; did you mean 'prompt'?"),
        ({"rating": 1, "note": "x"}, "unknown field 'note'; a vote has decision, other_decision"),
        ({"winner": "model_a", "model_b": "gpt-4o-mni"}, "not one of this router's models; did you mean 'gpt-4o-mini'"),
    ],
)
def test_a_mistyped_vote_is_an_error_with_near_names(
    start: Starter, tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    models = {"a": model(start.upstream().url), "b": model("http://nowhere"), "gpt-4o-mini": model("http://nowhere")}
    running = start.router(models, feedback=str(tmp_path / "f.sqlite"))
    answer = vote(running, decision=decide(running, "a"), **fields)
    assert answer.status_code == 400 and expected in answer.json()["error"]["message"]


@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_exported_votes_are_read_by_their_owner_alone(start: Starter, tmp_path: Path, mask: int) -> None:
    running = router(start, tmp_path / "f.sqlite", store_prompts=True)
    vote(running, decision=decide(running, "a"), other_decision=decide(running, "b"), winner="model_a")
    before = os.umask(mask)
    try:
        export(tmp_path, running.config_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "votes.jsonl").stat().st_mode) == 0o600
