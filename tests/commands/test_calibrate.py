"""p2l calibrate: a checkpoint that is too sure of itself, and one that is right."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.commands.calibrate import CalibrationJob
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.types import OUTCOMES
from tests.running import run_script

PROMPTS = [f"{'sum' if i % 2 else 'poem'} number {i}" for i in range(80)]


def votes_of(checkpoint: Checkpoint, path: Path, shrink: float) -> str:
    """Votes drawn from the checkpoint's own probabilities, with smaller differences between prompts."""
    rankings, rng = predict(checkpoint, PROMPTS), np.random.default_rng(0)
    mean = rankings.coefs.mean(dim=0)
    coefs = mean + shrink * (rankings.coefs - mean)
    rows = []
    for i, prompt in enumerate(PROMPTS):
        for _ in range(12):
            a, b = rng.choice(len(checkpoint.models), 2, replace=False)
            eta = None if rankings.eta is None else rankings.eta[i]
            probs = checkpoint.family.log_probs(coefs[i, a], coefs[i, b], eta).exp().double().numpy()
            kind = rng.choice(len(probs), p=probs / probs.sum())
            rows.append((prompt, checkpoint.models[a], checkpoint.models[b], OUTCOMES[kind].value))
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_parquet(path)
    return str(path)


@pytest.fixture
def sure(tiny_checkpoint: Checkpoint) -> Checkpoint:
    """The tiny checkpoint with large differences between prompts."""
    predicted = predict(tiny_checkpoint, PROMPTS).coefs
    spread = float(predicted.std(dim=0).mean())
    scale = 2.5 / spread
    offset = predicted.mean(dim=0) * (1 - scale)
    tiny_checkpoint.model.head.rescale(scale, offset)
    return tiny_checkpoint


def test_the_script_writes_a_checkpoint_that_is_less_sure(sure: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", sure)
    votes, out = votes_of(sure, tmp_path / "votes.parquet", shrink=0.3), tmp_path / "out"
    status, output = run_script(
        f"model_path={tmp_path / 'old'}", f"votes={votes}", f"output_dir={out}", script="calibrate"
    )
    assert status == 0, output
    report = json.loads((out / "calibration.json").read_text())
    assert 0.2 < report["scale"] < 0.45 and report["difference"]["high"] < 0
    assert report["calibration_error"]["after"] < 0.7 * report["calibration_error"]["before"]
    new = load_checkpoint(str(out / "checkpoint"))
    before, after = predict(sure, PROMPTS).coefs, predict(new, PROMPTS).coefs
    torch.testing.assert_close(after.std(dim=0), report["scale"] * before.std(dim=0), rtol=1e-3, atol=1e-4)
    assert new.recipe["calibration"] == report
    assert "log loss" in output and "calibration" in (out / "checkpoint" / "README.md").read_text()


def test_without_a_gain_nothing_is_written(sure: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    votes = votes_of(sure, tmp_path / "votes.parquet", shrink=1.0)
    job = CalibrationJob(votes, str(tmp_path / "out"), seed=1)
    found = job.run(sure)
    report = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert (found is None) == (report["difference"]["value"] >= 0) == (not (tmp_path / "out" / "checkpoint").exists())
    assert report["scale"] == pytest.approx(1, abs=0.15)
