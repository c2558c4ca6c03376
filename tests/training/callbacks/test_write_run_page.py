"""The page of real runs: finished, stopped, resumed, without validation, and in W&B."""

import json
from pathlib import Path

import pytest
import wandb

from p2l.commands.run_page import RunPageJob
from p2l.run_page import read_run
from p2l.training import train
from p2l.training.loggers import close
from tests.insight.test_html_report import read
from tests.running import build, curve, run
from tests.training.test_interruption import CutBefore, PowerCutError

OPTIONS = ("example_prompts=[hello, ['a <b>', c]]", "trainer.val_check_interval=2")


def test_a_finished_run_has_a_page_with_its_numbers(tmp_path: Path) -> None:
    finished = run(tmp_path, *OPTIONS, f"data.test={tmp_path / 'val.jsonl'}")
    found, text = read_run(finished.folder), read((finished.folder / "run.html").read_text(encoding="utf-8")).text
    assert found.status == "finished" and found.step == found.steps == finished.trainer.global_step
    assert found.curve("train/loss")[1] == pytest.approx(curve(finished.folder))
    logged = curve(finished.folder, "val/log_loss")[: len(found.curve("val/log_loss")[1])]
    assert found.curve("val/log_loss")[1] == pytest.approx(logged) and len(logged) >= 2
    best = min(found.curve("val/log_loss")[1])
    assert f"{best:.4f}" in text
    assert found.test["model"]["log_loss"] == pytest.approx(finished.metrics["test/log_loss"])
    assert [board["prompt"] for board in found.leaderboards] == [["hello"], ["a <b>", "c"]]
    assert [row["rank"] for row in found.leaderboards[0]["rows"]] == [1, 2, 3, 4, 5, 6]
    votes, shown = finished.datamodule.table("train"), found.votes["train"]
    assert shown["votes"] == len(votes) and sum(shown["models"].values()) == 2 * len(votes)
    assert sum(found.calibration["tie"]["votes"]) == pytest.approx(found.votes["val"]["votes"])
    assert found.votes["val"]["trained_on_too"] <= found.votes["val"]["prompts"]
    assert any("fewer than 100 votes" in doubt for doubt in found.doubts) and "fewer than 100 votes" in text
    assert found.config["optimizer"]["lr"] == 0.01


def test_a_run_that_stops_has_a_page_up_to_there_and_a_resumed_one_the_whole(tmp_path: Path) -> None:
    options = (*OPTIONS, "callbacks.last.every_n_train_steps=1")
    module, datamodule, trainer = build(tmp_path, *options)
    trainer.callbacks.insert(0, CutBefore(3 * datamodule.micro_batches(1)))
    with pytest.raises(PowerCutError):
        train(module, datamodule, trainer)
    folder = tmp_path / "run"
    stopped = read_run(folder)
    assert stopped.status == "stopped" and stopped.reason == "PowerCutError" and stopped.step == 3
    assert "up to step 3 of" in read((folder / "run.html").read_text(encoding="utf-8")).text
    run(tmp_path, *options, f"resume={folder}")
    whole = read_run(folder)
    steps = whole.curve("train/loss")[0]
    assert whole.status == "finished" and whole.reason == "" and steps == list(range(1, whole.steps + 1))


def test_a_killed_run_and_one_of_an_older_version_get_a_page_from_their_files(tmp_path: Path) -> None:
    finished = run(tmp_path, *OPTIONS)
    (finished.folder / "run.html").unlink()
    record = finished.folder / "page" / "record.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    for path in list(record.parent.iterdir()):
        path.unlink()
    page = RunPageJob(str(finished.folder), str(tmp_path / "elsewhere")).run()
    found = read_run(finished.folder)
    assert page.parent.name == "elsewhere" and found.status == "finished" and found.models == tuple(before["models"])
    for outcome, points in before["calibration"].items():
        assert found.calibration[outcome]["observed"] == pytest.approx(points["observed"], abs=1e-6)
        assert found.calibration[outcome]["predicted"] == pytest.approx(points["predicted"], abs=1e-4)
    assert found.curve("val/log_loss")[1] and found.votes["val"]["models"] == before["votes"]["val"]["models"]


def test_without_validation_and_prompts_there_is_still_a_page(tmp_path: Path) -> None:
    finished = run(tmp_path, "data.val=null", "example_prompts=[]", "callbacks.best=null", "callbacks.examples=null")
    text = read((finished.folder / "run.html").read_text(encoding="utf-8")).text
    assert "There is no validation loss" in text and "Leaderboards of example prompts" not in text


def test_a_page_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "run" / "run.html").mkdir(parents=True)
    finished = run(tmp_path, "trainer.max_steps=1")
    assert (finished.folder / "checkpoint").exists() and "page of the run could not be written" in caplog.text


def test_wandb_gets_the_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    finished = run(tmp_path, "logger=wandb", "trainer.max_steps=1")
    assert "run_page" in dict(wandb.run.summary)
    close(finished.trainer.loggers)
    (page,) = finished.folder.glob("wandb/offline-run-*/files/media/html/run_page*.html")
    assert page.read_text(encoding="utf-8") == (finished.folder / "run.html").read_text(encoding="utf-8")
