"""A run that was killed and resumed ends with the same weights, bit by bit."""

import signal
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from lightning import Callback, LightningModule, Trainer

from p2l.errors import ConfigError
from p2l.scaling import read_points
from p2l.training import train
from tests.running import (
    ROOT,
    TINY,
    Run,
    build,
    curve,
    largest_difference,
    on_votes,
    run,
    run_script,
    start_script,
    weights,
    write_votes,
)

SAVE_OFTEN = ("callbacks.last.every_n_train_steps=2", "example_prompts=[hello]", "model.dropout=0.1")
TWO_EPOCHS = ("batching.shuffle=votes", "trainer.max_epochs=2")
KILL = """
import os, signal
from lightning import Callback

class KillBefore(Callback):
    def __init__(self, micro_batch):
        self.left = micro_batch
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
"""


class PowerCutError(Exception):
    """Replaces SIGKILL within this process."""


class CutBefore(Callback):
    """Ends a fit before a micro-batch, counted from 0."""

    def __init__(self, micro_batch: int) -> None:
        self.left = micro_batch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if not self.left:
            raise PowerCutError
        self.left -= 1


class CutAtEnd(Callback):
    """Ends a run after its last step, before any result is written."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise PowerCutError


def cut_and_resume(folder: Path, cut: Callback, *overrides: str, then: tuple[str, ...] = ()) -> Run:
    module, datamodule, trainer = build(folder, *overrides)
    trainer.callbacks.insert(0, cut)
    with pytest.raises(PowerCutError):
        train(module, datamodule, trainer)
    return run(folder, *overrides, *then, f"resume={folder / 'run'}")


@pytest.mark.slow
def test_a_process_killed_in_its_second_epoch(tmp_path):
    (tmp_path / "kill.py").write_text(KILL)
    options = [*TINY, *on_votes(tmp_path), *SAVE_OFTEN, *TWO_EPOCHS]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    status, output = run_script(*options, f"output_dir={whole}")
    assert status == 0, output
    kill = "+callbacks.kill={_target_: kill.KillBefore, micro_batch: 13}"  # of 16
    process = start_script(*options, f"output_dir={broken}", kill, PYTHONPATH=f"{tmp_path}:{ROOT}")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == -signal.SIGKILL, output
    assert (broken / "checkpoints" / "last.ckpt").exists()
    assert not (broken / "checkpoint").exists()
    status, output = run_script(*options, f"output_dir={broken}", f"resume={broken}")
    assert status == 0, output
    assert curve(broken) == curve(whole)
    assert largest_difference(weights(whole / "checkpoint"), weights(broken / "checkpoint")) == 0


RUNS = {
    "the order of the file": (),
    "votes drawn": TWO_EPOCHS,
    "prompts drawn": ("batching.shuffle=prompts", "batching.token_budget=100", "trainer.max_epochs=2"),
    "rates that fall": ("scheduler=linear", "trainer.max_epochs=2"),
    "validation in mid-epoch": ("trainer.val_check_interval=0.25", "trainer.max_epochs=2"),
    "averaged weights": ("callbacks=ema", "callbacks.ema.decay=0.9", "trainer.max_epochs=2"),
    "a limit of steps": ("trainer.max_epochs=-1", "trainer.max_steps=7", "batching.shuffle=votes"),
}
# two micro-batches a step, four steps an epoch, saved after every second step
PLACES = {
    "between steps": 6,
    "within a step": 5,
    "at the end of an epoch": 8,
    "in the second epoch": 13,
}


CASES = [
    *(("votes drawn", place) for place in PLACES),
    ("the order of the file", "within a step"),
    ("prompts drawn", "in the second epoch"),
    ("rates that fall", "in the second epoch"),
    *((kind, place) for kind in list(RUNS)[4:] for place in ("at the end of an epoch", "in the second epoch")),
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the uninterrupted run of each kind, trained on first use."""

    @cache
    def train_once(kind: str) -> Run:
        return run(tmp_path_factory.mktemp("whole"), *SAVE_OFTEN, *RUNS[kind])

    return train_once


@pytest.mark.parametrize(("kind", "place"), CASES)
def test_a_run_goes_on_as_if_nothing_had_been(tmp_path, uninterrupted, kind, place):
    whole, micro_batch = uninterrupted(kind), PLACES[place]
    assert whole.trainer.accumulate_grad_batches == 2
    resumed = cut_and_resume(tmp_path, CutBefore(micro_batch), *SAVE_OFTEN, *RUNS[kind])
    left = whole.trainer.global_step - micro_batch // 4 * 2  # after the last checkpoint before the cut
    assert resumed.curve()[-left:] == whole.curve()[-left:]
    assert resumed.metrics["val/log_loss"] == whole.metrics["val/log_loss"]
    assert resumed.trainer.global_step == whole.trainer.global_step
    ours, theirs = (weights(r.folder / "checkpoint") for r in (resumed, whole))
    assert largest_difference(ours, theirs) == 0


def test_other_micro_batches_after_the_cut(tmp_path):
    """The devices and the token budget may change; the gradient of a step does not, beyond rounding."""
    options = (*SAVE_OFTEN, "model.dropout=null", *TWO_EPOCHS)
    whole = run(make(tmp_path / "whole"), *options)
    broken = cut_and_resume(make(tmp_path / "broken"), CutBefore(13), *options, then=("batching.token_budget=100",))
    assert broken.trainer.accumulate_grad_batches > whole.trainer.accumulate_grad_batches
    assert broken.curve()[-2:] == pytest.approx(whole.curve()[-2:], rel=1e-4)
    ours, theirs = (weights(r.folder / "checkpoint") for r in (broken, whole))
    assert largest_difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("limit", [("trainer.max_epochs=1",), ("trainer.max_epochs=-1", "trainer.max_steps=4")])
@pytest.mark.parametrize(
    "kind", [(), ("data.val=null",), ("callbacks=ema", "callbacks.ema.decay=0.9", "callbacks.best=null")]
)
def test_a_run_cut_after_its_last_step_comes_to_its_end(tmp_path, kind, limit):
    record = "+callbacks.record={_target_: p2l.training.callbacks.RecordPoint, folder: '${output_dir}'}"
    options = (*SAVE_OFTEN, *kind, *limit, record)
    whole = run(make(tmp_path / "whole"), *options)
    resumed = cut_and_resume(make(tmp_path / "broken"), CutAtEnd(), *options)
    assert resumed.metrics.get("val/log_loss") == whole.metrics.get("val/log_loss")
    ours, theirs = (weights(r.folder / "checkpoint") for r in (resumed, whole))
    assert largest_difference(ours, theirs) == 0
    (point,), (expected,) = (read_points(r.folder) for r in (resumed, whole))
    assert point.steps == 4
    assert replace(point, seconds=0) == replace(expected, seconds=0)


def test_a_finished_run_resumed_trains_no_more(tmp_path):
    finished = run(make(tmp_path), *SAVE_OFTEN)
    before = weights(finished.folder / "checkpoint")
    again = run(tmp_path, *SAVE_OFTEN, f"resume={finished.folder}")
    assert again.metrics["val/log_loss"] == finished.metrics["val/log_loss"]
    assert largest_difference(before, weights(finished.folder / "checkpoint")) == 0


def test_a_finished_run_can_get_another_epoch(tmp_path):
    longer = run(make(tmp_path / "longer"), *SAVE_OFTEN, *TWO_EPOCHS)
    first = make(tmp_path / "first")
    run(first, *SAVE_OFTEN, *TWO_EPOCHS, "trainer.max_epochs=1")
    second = run(first, *SAVE_OFTEN, *TWO_EPOCHS, f"resume={first / 'run'}")
    ours, theirs = (weights(r.folder / "checkpoint") for r in (second, longer))
    assert largest_difference(ours, theirs) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["batching.batch_size=24"], "batch_size 48 is now 24"),
        (["batching.shuffle=prompts"], "shuffle votes is now prompts"),
        (["batching.seed=1"], "seed 42 is now 1"),
        (["data.train={other}"], "training votes 192 is now"),
    ],
)
def test_other_votes_in_a_step_are_refused(tmp_path, change, message):
    run(make(tmp_path), *SAVE_OFTEN, *TWO_EPOCHS, "trainer.max_epochs=1")
    other = write_votes(tmp_path / "other.jsonl", votes_per_prompt=13)
    changed = [override.format(other=other) for override in change]
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, *SAVE_OFTEN, *TWO_EPOCHS, *changed, f"resume={tmp_path / 'run'}")


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ConfigError, match="nothing to resume"):
        run(make(tmp_path), f"resume={tmp_path / 'nowhere'}")
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="is damaged or not a Lightning checkpoint"):
        run(tmp_path, f"resume={damaged}")


def test_a_checkpoint_file_can_be_named(tmp_path):
    finished = run(make(tmp_path), *SAVE_OFTEN, *TWO_EPOCHS, "trainer.max_epochs=1")
    named = run(tmp_path, *SAVE_OFTEN, *TWO_EPOCHS, f"resume={finished.folder / 'checkpoints' / 'last.ckpt'}")
    assert named.trainer.global_step == 8


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
