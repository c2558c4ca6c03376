"""scripts/route_eval.py: from a checkpoint and measured scores to curves, and errors in one line."""

import json
import logging
import sys

import numpy as np
import pandas as pd
import pytest

from p2l.commands.cli import main
from p2l.composition.hydra_task import HydraTask
from p2l.models import save_checkpoint
from p2l.routing import Shrinkage
from tests.models.test_posterior_file import with_posterior
from tests.running import compose


@pytest.fixture
def arguments(tmp_path, tiny_checkpoint) -> list[str]:
    """A checkpoint over alpha, beta, delta and gamma, and the answers of three of them to 60 prompts."""
    save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    rng = np.random.default_rng(0)
    rows = [
        (i, f"question {i}", model, float(rng.random() < skill), cost, ("test", "known")[i % 2])
        for i in range(60)
        for model, skill, cost in (
            ("alpha", 0.3, 0.001),
            ("beta", 0.6, 0.004),
            ("unknown", 0.9, 0.01),
            ("gamma", 0.8, 0.02),
        )
    ]
    frame = pd.DataFrame(rows, columns=["prompt_id", "prompt", "model", "score", "cost", "split"])
    frame.to_parquet(tmp_path / "scores.parquet")
    paths = {"model_path": "checkpoint", "scores": "scores.parquet", "output_dir": "out"}
    return [*(f"{name}={tmp_path / path}" for name, path in paths.items()), "split=test", "known_split=known"]


def call(*overrides: str) -> int:
    """Exit status of the script, run in this process."""
    try:
        HydraTask("route_eval")(compose(*overrides, config="route_eval"))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_curves_are_written_and_drawn_beside_others(arguments, tmp_path):
    assert call(*arguments, "num_budgets=4") == 0
    written = tmp_path / "out" / "route_eval.json"
    result = json.loads(written.read_text())
    assert set(result["singles"]) == {"alpha", "beta", "gamma"}
    assert result["summary"]["best_single"]["model"] == "gamma"
    assert result["summary"]["best_single"]["cost"] == pytest.approx(20)  # of 1,000 prompts
    assert len(result["curves"]["stream"]["cost"]) == 4
    table = pd.read_csv(tmp_path / "out" / "route_eval.csv")
    assert set(table["policy"]) == set(result["curves"])
    assert set(table["unit"]) == {result["unit"]} and "1,000" in result["unit"]
    assert call(*arguments, "num_budgets=3", f"beside=[{written}]", f"output_dir={tmp_path / 'both'}") == 0
    assert (tmp_path / "both" / "route_eval.png").read_bytes().startswith(b"\x89PNG")


def test_the_optimizer_is_an_option_and_no_group(arguments, tmp_path, monkeypatch, capsys):
    """The configuration of training has a group of that name."""
    monkeypatch.setattr(sys, "argv", ["p2l"])
    assert main(["route-eval", *arguments, "num_budgets=2", "optimizer=simple-lp"]) == 0
    assert json.loads((tmp_path / "out" / "route_eval.json").read_text())["optimizer"] == "simple-lp"
    with pytest.raises(SystemExit) as end:
        main(["route-eval", *arguments, "optimizer=best"])
    assert end.value.code == 2


def test_a_risk_has_curves_of_its_own_and_needs_a_posterior(arguments, tmp_path, tiny_checkpoint, caplog):
    assert call(*arguments, "num_budgets=3", "risk=0.2") == 2
    assert "risk needs the posterior" in caplog.text
    sure = save_checkpoint(tmp_path / "sure", with_posterior(tiny_checkpoint))
    assert call(*arguments, "num_budgets=3", "risk=0.2", f"model_path={sure}") == 0
    result = json.loads((tmp_path / "out" / "route_eval.json").read_text())
    assert {"risk stream", "risk LP"} <= result["curves"].keys() & result["summary"].keys()
    assert result["curves"]["risk LP"]["quality"] != result["curves"]["per-prompt LP"]["quality"]
    assert call(*arguments, "num_budgets=3", "risk=2") == 2
    assert "risk must be a quantile above 0 and below 1" in caplog.text


def test_a_shrinkage_is_fitted_to_other_prompts_and_written_for_the_router(arguments, tmp_path):
    assert call(*arguments, "num_budgets=3", "calibration={split: known}") == 0
    shrinkage = Shrinkage.load(tmp_path / "out" / "shrinkage.json")
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    means = frame[frame.split == "known"].groupby("model").score.mean()
    assert (shrinkage.optimizer, shrinkage.models) == ("optimal-lp", ("alpha", "beta", "gamma"))
    np.testing.assert_allclose(shrinkage.prior, means[list(shrinkage.models)])
    result = json.loads((tmp_path / "out" / "route_eval.json").read_text())
    assert {"conservative stream", "conservative LP"} <= result["curves"].keys() & result["summary"].keys()
    dear = result["summary"]["conservative stream"]["minus_best_single"]
    assert dear["low"] <= dear["value"] <= dear["high"]
    assert (tmp_path / "out" / "route_eval.png").read_bytes().startswith(b"\x89PNG")


def test_calibration_prompts_that_are_tested_too_are_left_out(arguments, tmp_path, caplog):
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    clean = frame[frame.split == "known"]
    clean.to_parquet(tmp_path / "clean.parquet")
    tested = frame[frame.split == "test"].head(8).assign(score=1.0)  # two prompts, with scores that would show
    pd.concat([tested, clean]).to_parquet(tmp_path / "mixed.parquet")
    found = []
    for name in ("clean", "mixed"):
        given = f"calibration={{scores: {tmp_path / name}.parquet, split: null}}"
        assert call(*arguments, "num_budgets=3", given) == 0
        found.append(json.loads((tmp_path / "out" / "shrinkage.json").read_text()))
    assert found[0] == found[1]
    assert "2 of 32 prompts are tested too, and left out" in caplog.text


@pytest.mark.parametrize("known", ["test", "null", "mixed"])
def test_known_prompts_that_are_tested_too_are_counted_and_said(arguments, tmp_path, caplog, known):
    """The whole file stands for known_scores by default; a prompt in other case and spaces is the same one."""
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    tested = frame[frame.split == "test"].head(8)  # two prompts
    again = tested.assign(prompt="  " + tested.prompt.str.upper(), prompt_id=tested.prompt_id + 1000)
    pd.concat([again, frame[frame.split == "known"]]).assign(split="mixed").to_parquet(tmp_path / "mixed.parquet")
    source = {"mixed": f"known_scores={tmp_path / 'mixed.parquet'}"}.get(
        known, f"known_scores={tmp_path / 'scores.parquet'}"
    )
    assert call(*arguments[:-1], source, f"known_split={known}", "num_budgets=2") == 0
    shared, of = {"test": (30, 30), "null": (30, 60), "mixed": (2, 32)}[known]
    assert f"known_scores: {shared} of {of} prompts are tested too" in caplog.text
    assert json.loads((tmp_path / "out" / "route_eval.json").read_text())["known_prompts_tested"] == shared


def test_other_prompts_are_not_said_to_be_tested(arguments, tmp_path, caplog):
    assert call(*arguments, "num_budgets=2") == 0
    assert "tested too" not in caplog.text and "scores: LLMs that the checkpoint or another table lacks" in caplog.text
    assert json.loads((tmp_path / "out" / "route_eval.json").read_text())["known_prompts_tested"] == 0


@pytest.mark.parametrize("name", ["known_scores", "calibration"])
def test_the_table_with_other_llms_is_named(arguments, tmp_path, caplog, name):
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    path = tmp_path / "other.parquet"
    frame.assign(model=frame.model.replace({"alpha": "0613", "beta": "0711"})).to_parquet(path)
    given = f"known_scores={path}" if name == "known_scores" else f"calibration={{scores: {path}}}"
    assert call(*arguments, given) == 2
    assert f"{name} has 1 of them (0613, 0711, gamma, unknown)" in caplog.messages[-1]
    assert "scores has 3 of them (alpha, beta, gamma, unknown)" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("calibration={split: test}", "calibration: all of its 30 prompts are tested"),
        ("calibration={splt: known}", "scores, prompts and split can be given; got splt"),
        ("beside=[nowhere.json]", "nowhere.json is not a route_eval.json"),
        ("split=nowhere", "no scored prompt is left"),
        ("prices={unknown:[1,1],alpha:[1,1]}", "has no output_chars"),
        ("key=colour", "has no column colour"),
    ],
)
def test_bad_input_is_one_line(arguments, override, reason, caplog):
    with caplog.at_level(logging.ERROR):
        assert call(*arguments, *(["+" + override] if override.startswith("prices") else [override])) == 2
    assert reason in caplog.messages[-1]


@pytest.mark.parametrize("choice", ["none", "mmlu_pro"])
def test_price_lists_compose(choice):
    prices = compose("model_path=x", "scores=x", f"prices={choice}", config="route_eval").prices
    assert all(len(price) == 2 for price in (prices or {}).values())
