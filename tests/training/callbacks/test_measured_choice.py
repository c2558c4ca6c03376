"""A run on measured scores: from a table of prompt, model, score and cost to a checked router."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from p2l.composition.build_run import build_run
from p2l.errors import ConfigError, DataError
from p2l.models import load_checkpoint
from p2l.models.predictor import predict
from p2l.serving.router.router_command import main as router
from p2l.training import train
from tests.running import TINY, compose, curve, run

NAMES = ("ant", "bee: 2", "cat")


def scores_of(path: Path) -> str:
    """Scores that depend on one word of the prompt."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{word} number {i}", name, float(name == best) - 0.1 * rng.random(), 0.001 * (place + 1))
        for i in range(30)
        for word, best in (("sum", "ant"), ("poem", "cat"))
        for place, name in enumerate(NAMES)
    ]
    pd.DataFrame(rows, columns=["prompt", "model", "score", "cost"]).to_csv(path, index=False)
    return str(path)


def measured_run(folder: Path, *overrides: str) -> Path:
    source = scores_of(folder / "scores.csv")
    fixed = ("experiment=own_scores", f"data.train={source}", "data.val_share=0.3", *TINY, "optimizer.lr=0.02")
    parts = build_run(compose(*fixed, "trainer.max_epochs=12", f"output_dir={folder / 'run'}", *overrides))
    train(*parts)
    return folder / "run"


def test_a_run_learns_which_model_a_prompt_wants_and_says_what_the_choice_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = measured_run(tmp_path, "data.cost_column=cost")
    found = json.loads((folder / "measured_choice.json").read_text())
    assert found["num_prompts"] == 18
    assert found["gain_low"] > 0.2 and found["oracle"] >= found["chosen"] > found["best_single"] + 0.2
    assert curve(folder, "scores/gain") == pytest.approx([found["gain"]])
    config = yaml.safe_load((folder / "router.yaml").read_text())["model_configs"]
    assert {name: entry["cost"] for name, entry in config.items()} == {"ant": 0.001, "bee: 2": 0.002, "cat": 0.003}
    router(["--config", str(folder / "router.yaml"), "--check-config"])
    assert "the configuration is valid" in capsys.readouterr().err


def test_a_run_predicts_costs_that_depend_on_the_prompt(tmp_path: Path) -> None:
    """The answers of two LLMs to poems cost five times as much; those of the third cost always the same."""
    frame = pd.read_csv(scores_of(tmp_path / "scores.csv"))
    longer = frame["prompt"].str.startswith("poem") & (frame["model"] != "cat")
    frame["cost"] *= np.where(longer, 5.0, 1.0)
    frame.to_csv(tmp_path / "costs.csv", index=False)
    folder = measured_run(tmp_path, "data.cost_column=cost", f"data.train={tmp_path / 'costs.csv'}")
    checkpoint = load_checkpoint(folder / "checkpoint")
    costs = predict(checkpoint, ["sum number 99", "poem number 99"]).costs
    np.testing.assert_allclose(costs[:, :2], [[0.001, 0.002], [0.005, 0.01]], rtol=0.3)
    np.testing.assert_allclose(costs[:, 2], 0.003, rtol=1e-5)
    report = json.loads((folder / "predicted_costs.json").read_text())
    assert report["models"]["ant"]["r2_log"] > 0.8 and report["prompts"] == 18
    assert curve(folder, "costs/predicted_over_actual")[0] == pytest.approx(1.0, abs=0.2)
    assert "| ant | 0.00" in (folder / "checkpoint" / "README.md").read_text()
    config = yaml.safe_load((folder / "router.yaml").read_text())
    assert {name: entry["cost"] for name, entry in config["model_configs"].items()} == {
        "ant": "predicted",
        "bee: 2": "predicted",
        "cat": 0.003,
    }
    assert config["router"] == {"cost_unit": "dollars"}
    assert router(["--config", str(folder / "router.yaml"), "--check-config"]) == 0


def test_free_models_need_fixed_costs(tmp_path: Path) -> None:
    frame = pd.read_csv(scores_of(tmp_path / "scores.csv"))
    frame.loc[7, "cost"] = 0.0
    frame.to_csv(tmp_path / "free.csv", index=False)
    options = ("data.cost_column=cost", f"data.train={tmp_path / 'free.csv'}", "trainer.max_epochs=1")
    with pytest.raises(DataError, match="finite numbers above 0; row 7 holds '0.0'.*predict_costs=false"):
        measured_run(tmp_path, *options)
    folder = measured_run(tmp_path, *options, "data.predict_costs=false")
    assert not (folder / "checkpoint" / "costs.npz").exists() and not (folder / "predicted_costs.json").exists()


def test_without_costs_no_router_is_written(tmp_path: Path) -> None:
    folder = measured_run(tmp_path, "trainer.max_epochs=1")
    assert (folder / "measured_choice.json").exists() and not (folder / "router.yaml").exists()


def test_votes_are_no_measured_scores(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="callbacks.measured needs measured scores"):
        run(
            tmp_path,
            "+callbacks.measured._target_=p2l.training.callbacks.MeasuredChoice",
            "+callbacks.measured.folder=x",
        )
