"""A job that is started again does what is left of it, and no more."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from lightning import Callback

from p2l.commands.restartable_job import FINISHED_FILE, RestartableJob
from p2l.composition.hydra_task import HydraTask
from p2l.training import train
from tests.running import TINY, build, compose, curve, on_votes

AGAIN = (
    "resume=auto",
    "callbacks=none",
    "callbacks.best=null",
    "callbacks.publish=null",
    "callbacks.last.every_n_train_steps=2",
    "+callbacks.record={_target_: p2l.training.callbacks.RecordPoint, folder: '${output_dir}'}",
)
PUBLISH = "callbacks.publish={_target_: p2l.training.callbacks.PublishCheckpoint, folder: '${output_dir}/checkpoint'}"


class PowerCutError(Exception):
    """What stands in for SIGKILL within this process."""


class CutBefore(Callback):
    def __init__(self, micro_batch: int) -> None:
        self.left = micro_batch

    def on_train_batch_start(self, *_: object) -> None:
        if not self.left:
            raise PowerCutError
        self.left -= 1


def call(folder: Path, *overrides: str) -> float | None:
    """The script, run in this process."""
    return HydraTask("train")(compose(*TINY, *on_votes(folder), f"output_dir={folder / 'run'}", *AGAIN, *overrides))


def cut(folder: Path, micro_batch: int) -> None:
    module, datamodule, trainer = build(folder, *AGAIN)
    RestartableJob.of(compose(*TINY, *on_votes(folder), f"output_dir={folder / 'run'}", *AGAIN))
    trainer.callbacks.insert(0, CutBefore(micro_batch))
    with pytest.raises(PowerCutError):
        train(module, datamodule, trainer)


def test_a_job_that_is_done_is_skipped(tmp_path: Path) -> None:
    loss = call(tmp_path)
    result = tmp_path / "run" / "result.json"
    before = result.stat().st_mtime_ns
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert call(tmp_path, "logger=none") == loss == json.loads(result.read_text())["val_log_loss"]
    assert result.stat().st_mtime_ns == before


@pytest.mark.parametrize("micro_batch", [1, 5])  # two a step: before the first checkpoint, and in the third step
def test_a_job_that_was_cut_ends_as_if_nothing_had_been(tmp_path: Path, micro_batch: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = call(tmp_path / "whole")
    cut(tmp_path / "cut", micro_batch)
    assert (tmp_path / "cut" / "run" / "checkpoints" / "last.ckpt").exists() == (micro_batch == 5)
    assert call(tmp_path / "cut") == whole
    losses, again = (curve(tmp_path / name / "run") for name in ("whole", "cut"))
    assert again[-len(losses) + (2 if micro_batch == 5 else 0) :] == losses[2 if micro_batch == 5 else 0 :]
    one, other = (json.loads((tmp_path / name / "run" / "result.json").read_text()) for name in ("whole", "cut"))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_checkpoint_that_was_cut_short_is_started_over(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    cut(tmp_path / "cut", 5)
    last = tmp_path / "cut" / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    assert call(tmp_path / "cut") == call(tmp_path / "whole")


def test_what_a_run_could_go_on_from_is_kept_where_it_left_nothing_else(tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    call(tmp_path, "callbacks.record=null")
    assert last.exists()
    call(tmp_path, "callbacks.record=null", PUBLISH)  # the published folder is missing
    assert not last.exists()


EARLY = ("callbacks=early_stop", "callbacks.early_stop.patience=1", "+callbacks.early_stop.mode=max")


@pytest.mark.parametrize(
    "options",
    [(), (*EARLY, "trainer.max_epochs=9"), ("callbacks.publish=null",), ("data.val=null",), ("trainer.max_steps=3",)],
)
def test_a_finished_run_of_the_default_callbacks_is_not_trained_again(tmp_path: Path, caplog, options) -> None:
    given = ("resume=auto", "example_prompts=[hello]", *options)
    cfg = compose(*TINY, *on_votes(tmp_path), f"output_dir={tmp_path / 'run'}", *given)
    loss = HydraTask("train")(cfg)
    trained = curve(tmp_path / "run")
    caplog.clear()
    with caplog.at_level("INFO", logger="p2l"):
        assert HydraTask("train")(cfg) == loss
    assert f"finished at step {len(trained)}; nothing to do" in caplog.text
    assert curve(tmp_path / "run") == trained


def test_a_finished_run_whose_published_folder_is_gone_is_published_again(tmp_path: Path) -> None:
    given = ("resume=auto", "example_prompts=[hello]", "callbacks.last.every_n_train_steps=1")
    cfg = compose(*TINY, *on_votes(tmp_path), f"output_dir={tmp_path / 'run'}", *given)
    loss = HydraTask("train")(cfg)
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    assert HydraTask("train")(cfg) == loss
    assert (tmp_path / "run" / "checkpoint" / "config.json").exists()


def test_a_plain_run_in_the_folder_of_a_finished_one_starts(tmp_path: Path) -> None:
    call(tmp_path, "callbacks.record=null")
    assert (tmp_path / "run" / FINISHED_FILE).exists()
    call(tmp_path, "callbacks.record=null", "resume=null", "optimizer.lr=0.02")
    assert not (tmp_path / "run" / FINISHED_FILE).exists()
    call(tmp_path, "callbacks.record=null", "optimizer.lr=0.02")  # nothing of the first recipe is left to compare with
    (tmp_path / "run" / FINISHED_FILE).write_text("{")
    with pytest.raises(SystemExit):
        call(tmp_path, "callbacks.record=null", "optimizer.lr=0.02")


def test_a_folder_with_another_recipe_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut(tmp_path, 1)
    for overrides in (["optimizer.lr=0.02"], ["optimizer.lr=0.02", "trainer.max_epochs=2"]):
        caplog.clear()
        with pytest.raises(SystemExit):
            call(tmp_path, *overrides)
        (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert "holds a run with optimizer.lr=0.01 (now 0.02)" in error.getMessage()
        assert "give another output_dir" in error.getMessage()


def test_other_values_of_resume_are_handed_on(tmp_path: Path) -> None:
    for resume in (None, "outputs/run"):
        cfg = compose(*TINY, f"output_dir={tmp_path}", *([] if resume is None else [f"resume={resume}"]))
        assert RestartableJob.of(cfg) == RestartableJob(tmp_path, resume)
    assert not list(tmp_path.iterdir())
