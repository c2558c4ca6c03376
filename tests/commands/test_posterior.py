"""p2l posterior: intervals on a checkpoint, and its most probable head."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.commands.posterior import PosteriorJob
from p2l.data import load_votes
from p2l.data.vote_evidence import table_with_evidence
from p2l.errors import ConfigError, DataError
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.outcomes import get_family
from p2l.types import OUTCOMES
from tests.running import run_script

TRAIN = [f"{'sum' if i % 2 else 'poem'} number {i}" for i in range(120)]
VAL = [f"{'sum' if i % 2 else 'poem'} of {i} parts" for i in range(60)]


def votes_of(checkpoint: Checkpoint, prompts: list[str], path: Path, votes_a_prompt: int = 12, seed: int = 0) -> str:
    """Votes drawn from the checkpoint's own probabilities."""
    rankings, rng, rows = predict(checkpoint, prompts), np.random.default_rng(seed), []
    for i, prompt in enumerate(prompts):
        for _ in range(votes_a_prompt):
            a, b = rng.choice(len(checkpoint.models), 2, replace=False)
            eta = None if rankings.eta is None else rankings.eta[i]
            probs = checkpoint.family.log_probs(rankings.coefs[i, a], rankings.coefs[i, b], eta).exp().double().numpy()
            kind = rng.choice(len(probs), p=probs / probs.sum())
            rows.append((prompt, checkpoint.models[a], checkpoint.models[b], OUTCOMES[kind].value))
    pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]).to_parquet(path)
    return str(path)


@pytest.fixture
def tables(tiny_checkpoint: Checkpoint, tmp_path: Path) -> tuple[str, str]:
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    return votes_of(tiny_checkpoint, TRAIN, tmp_path / "train.parquet"), votes_of(
        tiny_checkpoint, VAL, tmp_path / "val.parquet", seed=1
    )


def test_the_script_writes_a_checkpoint_with_intervals(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, output = run_script(
        f"model_path={tmp_path / 'old'}",
        f"votes={tables[0]}",
        f"val={tables[1]}",
        f"output_dir={out}",
        script="posterior",
    )
    assert status == 0, output
    report = json.loads((out / "posterior.json").read_text())
    assert report["votes"] == 720 and report["prompts"] == 60 and "averaged over the posterior" in output
    assert report["log_loss"]["calibrated"] < report["log_loss"]["point"] + 0.01
    new = load_checkpoint(str(out / "checkpoint"))
    assert new.recipe["posterior"] == report
    table = new.rank(VAL[0]).table().set_index("model")
    truth = dict(zip(tiny_checkpoint.models, predict(tiny_checkpoint, VAL[:1]).coefs[0].tolist(), strict=True))
    assert [truth[name] == pytest.approx(coef, abs=1e-4) for name, coef in table["coef"].items()]
    assert (table["low"] < table["coef"]).all() and (table["coef"] < table["high"]).all()
    assert "intervals" in (out / "checkpoint" / "README.md").read_text()


def test_a_head_that_knows_nothing_is_replaced_by_the_most_probable_one(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path
) -> None:
    for parameter in tiny_checkpoint.model.head.parameters():
        parameter.data.zero_()
    job = PosteriorJob(tables[0], str(tmp_path / "out"), val=tables[1], val_split="train", refit=True)
    found = job.run(tiny_checkpoint)
    losses = found.recipe["posterior"]["refit"]["log_loss"]
    assert found.recipe["posterior"]["refit"]["kept"] == "refitted" and losses["refitted"] < losses["trained"] - 0.01
    assert not found.model.head.ignores_prompts or losses["refitted"] > 0
    again = load_checkpoint(str(tmp_path / "out" / "checkpoint"))
    np.testing.assert_allclose(predict(again, VAL).coefs, predict(found, VAL).coefs, atol=1e-5)


def test_a_good_head_stays_if_the_other_is_not_better(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path
) -> None:
    few = pd.read_parquet(tables[0]).head(30).to_dict("records")
    pd.DataFrame(few).to_parquet(tmp_path / "few.parquet")
    before = predict(tiny_checkpoint, VAL).coefs
    job = PosteriorJob(str(tmp_path / "few.parquet"), str(tmp_path / "out"), val=tables[1], refit=True)
    found = job.run(tiny_checkpoint)
    assert found.recipe["posterior"]["refit"]["kept"] == "trained"
    np.testing.assert_allclose(predict(found, VAL).coefs, before, atol=1e-5)


def test_validation_votes_on_training_prompts_are_left_out(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"val: all of its prompts are those of votes="):
        PosteriorJob(tables[0], str(tmp_path / "out"), val=tables[0]).run(tiny_checkpoint)
    assert not (tmp_path / "out").exists()
    both = pd.concat([pd.read_parquet(tables[0]).head(200), pd.read_parquet(tables[1])])
    both.to_parquet(tmp_path / "both.parquet")
    found = PosteriorJob(tables[0], str(tmp_path / "out"), val=str(tmp_path / "both.parquet")).run(tiny_checkpoint)
    assert found.recipe["posterior"]["votes"] == 720 and "their 200 votes are left out" in caplog.text


def test_refit_needs_validation_votes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"refit=true needs val="):
        PosteriorJob("votes.csv", str(tmp_path), refit=True)


def test_without_validation_votes_the_intervals_say_that_they_are_unchecked(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = PosteriorJob(tables[0], str(tmp_path / "out")).run(tiny_checkpoint)
    assert "no held-out vote has checked the intervals" in caplog.text
    assert "votes" not in found.recipe["posterior"] and "low" in found.rank("hello").table()


@pytest.mark.parametrize("part", ["votes", "val"])
def test_votes_without_weight_are_refused(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path, part: str
) -> None:
    paths = dict(zip(("votes", "val"), tables, strict=True))
    pd.read_parquet(paths[part]).assign(weight=0.0).to_parquet(tmp_path / "zero.parquet")
    paths[part] = str(tmp_path / "zero.parquet")
    with pytest.raises(DataError, match=r"zero.parquet: all votes have weight 0"):
        PosteriorJob(output_dir=str(tmp_path / "out"), **paths).run(tiny_checkpoint)
    assert not (tmp_path / "out").exists()


def test_few_votes_and_votes_without_evidence_are_named(
    tiny_checkpoint: Checkpoint, tables: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = pd.read_parquet(tables[0]).head(1)
    one.to_parquet(tmp_path / "one.parquet")
    PosteriorJob(str(tmp_path / "one.parquet"), str(tmp_path / "out")).run(tiny_checkpoint)
    assert "votes: 1 votes on 1 prompts are too few to tell how much prompts differ" in caplog.text
    report = json.loads((tmp_path / "out" / "posterior.json").read_text())
    assert report["doubts"][0].startswith("votes: 1 votes on 1 prompts")
    ties = load_votes(one.assign(winner="tie"))[0]
    with pytest.raises(DataError, match="no val vote carries evidence under 'bt'; all 1 are ties"):
        table_with_evidence("val", ties, get_family("bt"))
