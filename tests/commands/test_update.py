"""p2l update: new votes and scores change the head, its posterior narrows, and the old checkpoint stays."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.commands.update import UpdateJob
from p2l.errors import CheckpointError, ConfigError, DataError
from p2l.heads.posterior_head import PosteriorHead
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.online.online_head import cold_posterior
from tests.running import run_script

PROMPTS = [f"{'sum' if i % 2 else 'poem'} number {i}" for i in range(40)]


@pytest.fixture
def sure(tiny_checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose posterior leaves all open."""
    head = tiny_checkpoint.model.head
    states = np.random.default_rng(0).standard_normal((200, head.hidden_size))
    head.posterior_head = PosteriorHead(cold_posterior(states, head.num_models, head.family))
    return tiny_checkpoint


def wins(checkpoint: Checkpoint, path: Path, winner: int, count: int = 150) -> str:
    names, rng = checkpoint.models, np.random.default_rng(0)
    others = [name for at, name in enumerate(names) if at != winner]
    rows = [(PROMPTS[i % 40], names[winner], rng.choice(others), "model_a") for i in range(count)]
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_csv(path, index=False)
    return str(path)


def scores(checkpoint: Checkpoint, path: Path, value: float) -> str:
    rows = [(prompt, checkpoint.models[0], value) for prompt in PROMPTS]
    pd.DataFrame(rows, columns=["prompt", "model", "score"]).to_csv(path, index=False)
    return str(path)


def test_the_script_writes_a_checkpoint_that_knows_the_votes(sure: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", sure)
    before = load_checkpoint(str(tmp_path / "old"))
    old, prior = predict(before, PROMPTS).coefs.numpy(), before.posterior
    votes, out = wins(before, tmp_path / "votes.csv", 1), tmp_path / "out"
    status, output = run_script(
        f"model_path={tmp_path / 'old'}", f"votes={votes}", f"output_dir={out}", script="update"
    )
    assert status == 0, output
    after = load_checkpoint(str(out / "checkpoint"))
    new = predict(after, PROMPTS).coefs.numpy()
    others = np.arange(new.shape[1]) != 1
    assert ((new[:, 1] - new[:, others].T) > (old[:, 1] - old[:, others].T) + 0.5).all()
    assert prior is not None and after.posterior is not None
    assert np.trace(after.posterior.level_covariance) < np.trace(prior.level_covariance)
    again = load_checkpoint(str(tmp_path / "old"))
    np.testing.assert_array_equal(predict(again, PROMPTS).coefs, old)
    audit = json.loads((out / "update.json").read_text())
    assert (audit["votes"], audit["scores"], audit["sources"]) == (150, 0, [votes])
    assert audit["log_loss"]["one_step_ahead"] < audit["log_loss"]["before"]
    assert audit["head_before"] != audit["head_after"]
    assert after.recipe["updates"] == [audit]


def test_scores_move_the_scored_model_alone_and_updates_add_up(sure: Checkpoint, tmp_path: Path) -> None:
    old = predict(sure, PROMPTS).coefs.numpy()
    first = UpdateJob(str(tmp_path / "one"), scores=scores(sure, tmp_path / "s.csv", 0.05)).run(sure)
    moved = predict(first, PROMPTS).coefs.numpy() - old
    assert (moved[:, 0] < -0.3).all()
    assert np.abs(moved[:, 1:]).mean() < 0.5 * np.abs(moved[:, 0]).mean()
    second = UpdateJob(str(tmp_path / "two"), scores=str(tmp_path / "s.csv")).run(first)
    assert len(second.recipe["updates"]) == 2
    with pytest.raises(ConfigError, match="an update overwrites none; give another output_dir"):
        UpdateJob(str(tmp_path / "two"), scores=str(tmp_path / "s.csv")).run(second)


def test_feedback_that_teaches_nothing_is_said(
    sure: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coefs = predict(sure, PROMPTS).coefs.double().numpy()
    right = 1 / (1 + np.exp(-coefs[:, 0]))  # what the head predicts, so that each step can only lead away
    rows = pd.DataFrame({"prompt": PROMPTS, "model": sure.models[0], "score": right})
    rows.to_csv(tmp_path / "s.csv", index=False)
    with caplog.at_level(logging.WARNING):
        UpdateJob(str(tmp_path / "out"), scores=str(tmp_path / "s.csv")).run(sure)
    assert "the feedback taught nothing that shows yet" in caplog.text


def test_what_cannot_be_updated_is_an_error(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    votes = wins(tiny_checkpoint, tmp_path / "votes.csv", 1, 5)
    with pytest.raises(CheckpointError, match="no posterior, which says what may change: run p2l posterior"):
        UpdateJob(str(tmp_path / "out"), votes=votes).run(tiny_checkpoint)
    with pytest.raises(ConfigError, match="give votes=<file>, scores=<file> or both"):
        UpdateJob(str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_named(sure: Checkpoint, tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["hi"], "model": ["newest"], "score": [1.0]}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(DataError, match="no model 'newest'; add it with p2l add-models"):
        UpdateJob(str(tmp_path / "out"), scores=str(tmp_path / "s.csv")).run(sure)
