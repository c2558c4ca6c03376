"""The table of an evaluation: what the JSON holds, the marginal's value beside it, and intervals."""

import json
from io import StringIO

from rich.console import Console

from p2l.evaluation.score_table import score_table
from tests.running import on_votes, run, run_script


def rendered(models: dict) -> str:
    text = StringIO()
    Console(width=160, file=text).print(score_table(models))
    return text.getvalue()


def interval(value: float, low: float | None, high: float | None) -> dict:
    return {"value": value, "low": low, "high": high}


def proper(**changes: object) -> dict:
    scores = {name: interval(0.5, 0.4, 0.6) for name in ("log_loss", "brier", "accuracy", "calibration_error")}
    return {"proper_metrics": {"votes": 1234, "prompts": 5, **scores, **changes}}


def test_the_marginal_stands_beside_each_metric():
    against = {"log_loss": interval(-0.125, -0.2, -0.05), "brier": interval(0.25, 0.1, 0.4)}
    text = rendered({"p2l-all": proper(minus_marginal=against | {"fitted_to": "other votes"})})
    assert "marginal: one leaderboard for all prompts, fitted to other votes" in text
    (row,) = [line for line in text.splitlines() if "log loss" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["p2l-all", "1,234", "log loss (nats)", "0.5000", "0.4000 to 0.6000", "0.6250", "-0.1250",
                     "-0.2000 to -0.0500"]  # fmt: skip


def test_without_a_baseline_or_a_spread():
    text = rendered({"marginal-all": proper(accuracy=interval(0.25, None, float("nan")))})
    (row,) = [line for line in text.splitlines() if "accuracy" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["", "", "accuracy", "0.2500", "-", "", "", ""]


def test_without_proper_metrics_the_simple_ones_are_shown():
    text = rendered({"p2l-all": {"simple_metrics": {"Loss": 0.75, "Mean-BT": {"a": 1}, "Accuracy": 0.5}}})
    assert "Loss" in text and "0.7500" in text and "Accuracy" in text and "Mean-BT" not in text


def test_the_command_prints_the_numbers_that_it_writes(tmp_path):
    folder = run(tmp_path, "callbacks=none", "trainer.max_steps=2").folder
    on_votes(tmp_path)
    options = [f"model_repo={folder / 'checkpoint'}", f"eval_path={folder / 'eval_output.jsonl'}", "categories=[all]"]
    wide = {"COLUMNS": "160"}
    status, output = run_script(
        *options, "metrics_to_inc=[simple,proper]", f"output_dir={tmp_path}", script="evaluate", **wide
    )
    assert status == 0, output
    found = json.loads((tmp_path / "eval_metrics.json").read_text())["models"]["p2l-all"]["proper_metrics"]
    loss = found["log_loss"]
    assert f"{loss['value']:.4f} │ {loss['low']:.4f} to {loss['high']:.4f}" in output
    assert f"{found['minus_marginal']['log_loss']['value']:+.4f}" in output
