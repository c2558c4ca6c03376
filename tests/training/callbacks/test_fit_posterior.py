"""A run with intervals=true writes a checkpoint with the posterior that p2l posterior would fit."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightning import LightningModule, Trainer

from p2l.commands.posterior import PosteriorJob
from p2l.composition.build_run import build_run
from p2l.errors import ConfigError
from p2l.models import load_checkpoint
from p2l.training import train
from p2l.training.callbacks import FitPosterior
from p2l.training.sharding import FSDP2Strategy
from tests.running import TINY, compose


def votes_on(path: Path, prompts: list[str], seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    rows = [(prompt, *rng.permutation(["ant", "bee", "cow"])[:2], rng.choice(["model_a", "model_b", "tie"]))
            for prompt in prompts for _ in range(6)]  # fmt: skip
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_parquet(path)
    return str(path)


def run(folder: Path, train_votes: str, val_votes: str, *options: str) -> Path:
    given = (f"data.train={train_votes}", f"data.val={val_votes}", f"output_dir={folder / 'run'}")
    train(*build_run(compose("experiment=own_votes", *given, *TINY, "trainer.max_epochs=1", *options)))
    return folder / "run"


def test_the_posterior_is_that_of_the_command(tmp_path: Path) -> None:
    train_votes = votes_on(tmp_path / "train.parquet", [f"prompt {i}" for i in range(40)])
    val_votes = votes_on(tmp_path / "val.parquet", [f"prompt {i}" for i in range(35, 60)], seed=1)  # five are known
    folder = run(tmp_path, train_votes, val_votes, "intervals=true")
    found = load_checkpoint(str(folder / "checkpoint"))
    assert found.posterior is not None and found.recipe["posterior"] == found.posterior.report
    assert found.posterior.report["prompts"] == 20
    assert json.loads((folder / "posterior.json").read_text()) == found.posterior.report
    assert "`posterior.npz`, set by 120 held-out votes" in (folder / "checkpoint" / "README.md").read_text()
    job = PosteriorJob(train_votes, str(tmp_path / "again"), val=val_votes)
    again = job.run(load_checkpoint(str(folder / "checkpoint")))
    for name, numbers in again.posterior.numbers().items():
        if name not in ("directions", "output_directions"):  # known up to their signs
            np.testing.assert_allclose(found.posterior.numbers()[name], numbers, rtol=1e-2, atol=1e-3, err_msg=name)
    ends = [one.rank("prompt 99").table()[["low", "high"]] for one in (found, again)]
    np.testing.assert_allclose(*ends, rtol=1e-2, atol=1e-2)


def test_without_other_prompts_it_says_that_nothing_has_checked_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    votes = votes_on(tmp_path / "train.parquet", [f"prompt {i}" for i in range(20)])
    with caplog.at_level(logging.WARNING):
        folder = run(tmp_path, votes, votes, "intervals=true")
    assert "no validation votes on other prompts" in caplog.text
    found = load_checkpoint(str(folder / "checkpoint"))
    assert found.posterior is not None and "votes" not in found.posterior.report


def test_a_run_has_no_intervals_unless_they_are_asked_for(tmp_path: Path) -> None:
    votes = votes_on(tmp_path / "train.parquet", [f"prompt {i}" for i in range(20)])
    folder = run(tmp_path, votes, votes)
    assert not (folder / "posterior.json").exists() and not (folder / "checkpoint" / "posterior.npz").exists()
    assert "posterior" not in load_checkpoint(str(folder / "checkpoint")).recipe


def test_sharded_weights_are_refused_before_training(tmp_path: Path) -> None:
    strategy = FSDP2Strategy()
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, strategy=strategy)
    module = LightningModule()
    with pytest.raises(ConfigError, match="FSDP2Strategy shards; give intervals=false, and run p2l posterior"):
        FitPosterior(str(tmp_path), enabled=True).setup(trainer, module, "fit")
    FitPosterior(str(tmp_path)).setup(trainer, module, "fit")
