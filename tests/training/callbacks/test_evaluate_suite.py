"""The evaluation suite during a run: numbers to the loggers, leaderboards and plots to the folder and to W&B."""

import json

import pytest
import torch

from p2l.leaderboard import aggregate
from p2l.training import train
from tests.running import build, curve, run


def test_numbers_and_pictures_of_each_validation(tmp_path):
    finished = run(tmp_path, "callbacks=suite", "trainer.max_steps=4", "trainer.val_check_interval=2")
    files = sorted(path.name for path in (finished.folder / "evaluations").glob("val-*.json"))
    assert files == ["val-2.json", "val-4.json"]
    written = json.loads((finished.folder / "evaluations" / "val-4.json").read_text())
    simple = written["models"]["p2l-all"]["simple_metrics"]
    losses = curve(finished.folder, "val_suite/all/Loss")
    assert (
        simple["Loss"]
        == pytest.approx(losses[-1], abs=1e-4)
        == pytest.approx(finished.metrics["val/log_loss"], abs=1e-4)
    )
    assert len(losses) == 3 and len(set(losses)) == 2  # the last weights are validated twice: in the fit and after it
    assert "aggr_scale of 1000" not in simple and any(
        "1000" in name for name in written["models"]["p2l-all"]["omitted"]
    )
    for picture in ("reliability", "leaderboard", "aggr_scale"):
        assert (finished.folder / "evaluations" / f"val-4_{picture}.png").stat().st_size > 1000


def test_categories_are_columns_of_the_votes(tmp_path):
    finished = run(
        tmp_path,
        "callbacks=suite",
        "trainer.max_steps=1",
        'callbacks.suite.evaluation.categories=[all,"language=English"]',
    )
    written = json.loads((finished.folder / "evaluations" / "val-1.json").read_text())
    assert set(written["models"]) | set(written["omitted"]) == {"p2l-all", "p2l-language=English"}


def test_leaderboards_reach_weights_and_biases(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    module, datamodule, trainer = build(
        tmp_path, "callbacks=suite", "trainer.max_steps=1", "logger=wandb", "logger.mode=offline"
    )
    logged: dict[str, object] = {}
    logger = trainer.loggers[0]
    monkeypatch.setattr(logger, "log_table", lambda key, columns, data: logged.update({key: (columns, data)}))
    monkeypatch.setattr(logger, "log_image", lambda key, images, **_: logged.update({key: images}))
    train(module, datamodule, trainer)
    logger.experiment.finish()
    columns, rows = logged["val_suite/all/leaderboard"]
    assert columns == ["leaderboard", "rank", "model", "coef"]
    assert {kind for kind, *_ in rows} == {"ground-truth", "model-aggr"} and len(rows) == 2 * len(datamodule.models)
    assert "val_suite/reliability" in logged


def test_aggregates_in_inference_mode(tmp_path):
    module, datamodule, _ = build(tmp_path)
    prompts = torch.arange(3)
    batch = datamodule.prompts("val").pad(prompts.numpy())
    with torch.inference_mode():
        ranking = module.model(batch.input_ids, batch.attention_mask)
        inside = aggregate(ranking, module.family)
    outside = aggregate(ranking.map(torch.clone), module.family)
    torch.testing.assert_close(inside.coefs.clone(), outside.coefs)
