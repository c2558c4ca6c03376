"""p2l fit-costs: a trained checkpoint gets predicted costs; its rankings stay as they are."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from tests.running import run_script

RNG = np.random.default_rng(0)


def table(path: Path, models: tuple[str, ...] = ("alpha", "gamma", "unknown"), **changes) -> str:
    """Long answers to prompts that begin with "poem"."""
    rows = [
        (f"{word} number {i}", model, 0.5, cost * length * np.exp(0.2 * RNG.normal()))
        for i in range(60)
        for word, length in (("sum", 1.0), ("poem", 6.0))
        for model, cost in zip(models, (0.001, 0.01, 0.1), strict=False)
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "model", "score", "cost"])
    for column, value in changes.items():
        frame[column] = frame[column].astype(object)
        frame.loc[17, column] = value
    frame.to_csv(path, index=False)
    return str(path)


def fit(folder: Path, *options: str) -> tuple[int | None, str]:
    places = (f"model_path={folder / 'old'}", f"output_dir={folder / 'out'}")
    return run_script(*places, *options, script="fit_costs")


def test_the_script_adds_costs_and_changes_nothing_else(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    scores, out = table(tmp_path / "scores.csv"), tmp_path / "out"
    status, output = fit(tmp_path, f"scores={scores}", "unit=euros")
    assert status == 0, output
    found = load_checkpoint(out / "checkpoint")
    prompts = [f"{word} number {i}" for word in ("sum", "poem") for i in range(60, 80)]
    before, after = predict(tiny_checkpoint, prompts), predict(found, prompts)
    torch.testing.assert_close(after.coefs, before.coefs, rtol=0, atol=0)
    assert after.costs[:, [1, 2]].isnan().all()  # not in the table
    short, long = after.costs[:20, [0, 3]].mean(dim=0), after.costs[20:, [0, 3]].mean(dim=0)
    assert (long > 2 * short).all()
    assert found.cost_facts.unit == "euros" and set(found.cost_facts.mean) == {"alpha", "gamma"}
    report = json.loads((out / "predicted_costs.json").read_text())
    assert report["prompts"] == 12 and set(report["models"]) == {"alpha", "gamma"}
    assert all(figures["r2_log"] > 0.5 for figures in report["models"].values())
    assert [len(report["quantiles"]), report["quantiles"][0].keys()] == [5, {"predicted", "actual"}]
    card = (out / "checkpoint" / "README.md").read_text()
    assert "## Predicted costs" in card and "in euros. On 12 held-out prompts" in card


@pytest.mark.parametrize("wrong", [0, -1.5, "inf", "1.2 USD"])
def test_costs_that_are_no_price_are_refused_with_row_and_value(
    tiny_checkpoint: Checkpoint, tmp_path: Path, wrong: object
) -> None:
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    scores = table(tmp_path / "scores.csv", cost=wrong)
    status, errors = fit(tmp_path, f"scores={scores}")
    assert status != 0 and f"column cost: expected finite numbers above 0; row 17 holds '{wrong}'" in errors


def test_a_table_of_other_models_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    scores = table(tmp_path / "scores.csv", ("x", "y", "z"))
    status, errors = fit(tmp_path, f"scores={scores}")
    assert status != 0 and "they share no model" in errors


def evaluate(folder: Path, scores: str, model: str = "out/checkpoint") -> tuple[int | None, str]:
    votes = [{"prompt": f"sum {i}", "model_a": "alpha", "model_b": "gamma", "winner": "model_a"} for i in range(6)]
    pd.DataFrame(votes).to_csv(folder / "votes.csv", index=False)
    places = (f"model_path={folder / model}", f"votes={folder / 'votes.csv'}", f"output_dir={folder / 'evaluated'}")
    return run_script(*places, f"costs={scores}", "categories=[all]", "metrics_to_inc=[simple]", script="evaluate")


def test_an_evaluation_compares_predicted_costs_to_measured_ones(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Against twice the costs, half is predicted, and the R2 of log cost falls; small costs keep their digits."""
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    assert fit(tmp_path, f"scores={table(tmp_path / 'scores.csv')}")[0] == 0
    frame = pd.read_csv(table(tmp_path / "other.csv")).query("model != 'gamma'")
    found = []
    for factor in (1, 2):
        frame.assign(cost=factor * frame["cost"]).to_csv(tmp_path / "measured.csv", index=False)
        status, output = evaluate(tmp_path, str(tmp_path / "measured.csv"))
        assert status == 0 and "costs of 120 held-out prompts: predicted / actual" in output, output
        found.append(json.loads((tmp_path / "evaluated" / "eval_metrics.json").read_text())["predicted_costs"])
        report = json.loads((tmp_path / "evaluated" / "predicted_costs.json").read_text())
        assert report["models"].keys() == {"alpha"} and report["unit"] == "dollars"
        assert report["models"]["alpha"]["mean"] == pytest.approx(
            factor * frame.query("model == 'alpha'")["cost"].mean()
        )
    assert found[0]["predicted_over_actual"] == pytest.approx(1, abs=0.1) and found[0]["r2_log"] > 0.8
    assert found[1]["predicted_over_actual"] == pytest.approx(found[0]["predicted_over_actual"] / 2, abs=1e-3)
    assert found[1]["r2_log"] < found[0]["r2_log"] - 0.3


def test_costs_that_cannot_be_compared_are_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    scores = table(tmp_path / "scores.csv")
    status, errors = evaluate(tmp_path, scores, "old")
    assert status != 0 and "predicts no costs; p2l fit-costs adds them" in errors
    assert fit(tmp_path, f"scores={scores}")[0] == 0
    status, errors = evaluate(tmp_path, table(tmp_path / "others.csv", ("x", "y", "z")))
    assert status != 0 and "predicted for alpha, gamma and measured for x, y, z: they share no model" in errors
