"""SIGTERM and Ctrl-C: the run saves its step and ends; the resumed one ends with the same weights."""

import logging
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from lightning import Callback, LightningModule, Trainer

from p2l.commands.publish import PublishJob
from p2l.errors import ConfigError
from p2l.training import train
from p2l.training.resume_point import saved_step
from p2l.training.stop_signals import RunStopped
from tests.ranks import on_ranks
from tests.running import (
    TINY,
    Run,
    build,
    curve,
    largest_difference,
    on_votes,
    run,
    run_script,
    start_process,
    start_script,
    weights,
)

log = logging.getLogger(__name__)
OPTIONS = ("example_prompts=[hello]", "model.dropout=0.1", "batching.shuffle=votes", "trainer.max_epochs=2")
LAST = Path("run") / "checkpoints" / "last.ckpt"


class Send(Callback):
    """Sends signals to this process in a hook of a step, counted from 1."""

    def __init__(self, hook: str, step: int, *signals: int, rank: int = 0) -> None:
        self.hook, self.step, self.signals, self.rank = hook, step, signals or (signal.SIGTERM,), rank

    def _send(self, hook: str, trainer: Trainer, step: int) -> None:
        if (hook, step, trainer.global_rank) == (self.hook, self.step, self.rank):
            self.hook = ""
            for number in self.signals:
                os.kill(os.getpid(), number)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx: int) -> None:
        self._send("batch", trainer, trainer.global_step + 1)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer) -> None:
        self._send("optimizer", trainer, trainer.global_step + 1)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self._send("validation", trainer, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._send("end", trainer, trainer.global_step)


def stopped(folder: Path, send: Send, *options: str) -> int:
    """Run until the signal; return the exit status."""
    module, data, trainer = build(folder, *OPTIONS, *options)
    trainer.callbacks.insert(0, send)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(RunStopped) as end:
        train(module, data, trainer)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("whole"), *OPTIONS)


# four steps an epoch, two micro-batches a step; the default saves every 100 steps
MOMENTS = {
    "within the first step": (Send("batch", 1), 1),
    "before an optimizer step": (Send("optimizer", 3), 3),
    "in the second epoch, by Ctrl-C": (Send("batch", 7, signal.SIGINT), 7),
    "in the validation after an epoch": (Send("validation", 4), 4),
    "in the last step": (Send("optimizer", 8), 8),
}


@pytest.mark.parametrize(("send", "step"), MOMENTS.values(), ids=MOMENTS)
def test_a_stopped_run_resumes_where_it_was(tmp_path, whole, caplog, send, step):
    number = send.signals[0]
    assert stopped(tmp_path, send) == 128 + number
    assert saved_step(tmp_path / LAST) == step
    assert f"{signal.Signals(number).name}: stopped after step {step} of 8; resume={tmp_path / 'run'}" in caplog.text
    with caplog.at_level("INFO", logger="p2l"):
        resumed = run(tmp_path, *OPTIONS, f"resume={tmp_path / 'run'}")
    assert f"resuming after step {step} of 8: {tmp_path / LAST}" in caplog.text
    assert resumed.curve() == whole.curve()
    assert resumed.metrics["val/log_loss"] == whole.metrics["val/log_loss"]
    ours, theirs = (weights(r.folder / "checkpoint") for r in (resumed, whole))
    assert largest_difference(ours, theirs) == 0


def test_a_second_signal_ends_the_run_at_once(tmp_path):
    assert stopped(tmp_path, Send("batch", 2, signal.SIGTERM, signal.SIGINT)) == 130
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize("options", [("trainer.max_epochs=1",), ("trainer.max_steps=3",), ("data.val=null",)])
def test_a_short_run_leaves_a_state_to_resume_and_to_publish(tmp_path, options):
    finished = run(tmp_path, *OPTIONS, *options)
    assert saved_step(tmp_path / LAST) == finished.trainer.global_step < 100
    made = PublishJob(str(finished.folder), str(tmp_path / "made"), checkpoint="last.ckpt").run()
    if options == ("data.val=null",):  # else the best weights are published
        assert largest_difference(weights(made), weights(finished.folder / "checkpoint")) == 0


def test_a_run_that_early_stopping_ends_leaves_its_state(tmp_path):
    stop = ("callbacks=early_stop", "callbacks.early_stop.patience=1", "+callbacks.early_stop.mode=max")
    finished = run(tmp_path, *OPTIONS, *stop, "trainer.max_epochs=9")
    assert 4 < saved_step(tmp_path / LAST) == finished.trainer.global_step < 36


EARLY = ("callbacks=early_stop", "+callbacks.early_stop.mode=max", "trainer.max_epochs=9")


def test_a_run_that_early_stopping_ended_trains_no_more(tmp_path, caplog):
    finished = run(tmp_path, *OPTIONS, *EARLY, "callbacks.early_stop.patience=1")
    before, steps = weights(finished.folder / "checkpoint"), len(finished.curve())
    with caplog.at_level("INFO", logger="p2l"):
        again = run(tmp_path, *OPTIONS, *EARLY, "callbacks.early_stop.patience=1", f"resume={finished.folder}")
    assert f"finished at step {steps} by early stopping" in caplog.text
    assert len(again.curve()) == steps
    assert largest_difference(before, weights(again.folder / "checkpoint")) == 0
    longer = run(tmp_path, *OPTIONS, *EARLY, "callbacks.early_stop.patience=2", f"resume={finished.folder}")
    assert len(longer.curve()) > steps


@pytest.mark.parametrize("patience", [1, 3])
def test_a_signal_in_the_validation_that_ends_a_run_early(tmp_path, patience):
    options = (*EARLY, f"callbacks.early_stop.patience={patience}")
    (tmp_path / "whole").mkdir()
    early = run(tmp_path / "whole", *OPTIONS, *options)
    (tmp_path / "cut").mkdir()
    assert stopped(tmp_path / "cut", Send("validation", early.trainer.global_step), *options) == 143
    resumed = run(tmp_path / "cut", *OPTIONS, *options, f"resume={tmp_path / 'cut' / 'run'}")
    assert resumed.curve() == early.curve()
    assert largest_difference(*(weights(r.folder / "checkpoint") for r in (early, resumed))) == 0


def test_a_new_run_leaves_nothing_of_an_earlier_one_to_resume(tmp_path, caplog):
    first = run(tmp_path, *OPTIONS, "trainer.max_epochs=1")
    last, best = (first.folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    assert stopped(tmp_path, Send("batch", 2, signal.SIGTERM, signal.SIGINT)) == 130  # before anything is saved
    assert not last.exists() and not best.exists()
    assert "last.ckpt (step 4) is now earlier-last.ckpt" in caplog.text
    assert saved_step(last.with_name("earlier-last.ckpt")) == 4
    with pytest.raises(ConfigError, match=r"holds earlier-best\.ckpt \(step 4\), earlier-last\.ckpt \(step 4\)"):
        run(tmp_path, *OPTIONS, f"resume={first.folder}")


def test_a_short_run_can_get_another_epoch(tmp_path, whole):
    run(tmp_path, *OPTIONS, "trainer.max_epochs=1")
    longer = run(tmp_path, *OPTIONS, f"resume={tmp_path / 'run'}")
    ours, theirs = (weights(r.folder / "checkpoint") for r in (longer, whole))
    assert largest_difference(ours, theirs) == 0


def test_what_can_be_resumed_is_listed(tmp_path, caplog):
    finished = run(tmp_path, *OPTIONS, "callbacks.last=null")
    best = saved_step(finished.folder / "checkpoints" / "best.ckpt")
    with pytest.raises(ConfigError, match=rf"there is no .*last\.ckpt; .*checkpoints holds best\.ckpt \(step {best}\)"):
        run(tmp_path, *OPTIONS, f"resume={finished.folder}")
    with pytest.raises(ConfigError, match="give the folder of a run or a checkpoint in it"):
        run(tmp_path, *OPTIONS, f"resume={tmp_path}")


def stop_on_rank(folder: Path, send: Send, *options: str) -> int:
    module, data, trainer = build(folder, *OPTIONS, "trainer.accelerator=cpu", *options)
    trainer.callbacks.insert(0, send)
    with pytest.raises(RunStopped) as end:
        train(module, data, trainer)
    return int(str(end.value.code))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path, whole, strategy):
    on_votes(tmp_path)
    dtype = ["trainer.strategy.compute_dtype=null"] if strategy == "fsdp2" else ["trainer.precision=32-true"]
    options = [f"trainer={strategy}", "trainer.devices=2", *dtype]
    codes = on_ranks(2, stop_on_rank, tmp_path, Send("batch", 3, signal.SIGINT, rank=1), *options)
    assert codes == [143, 130]
    assert saved_step(tmp_path / LAST) == 3
    resumed = run(tmp_path, *OPTIONS, f"resume={tmp_path / 'run'}")
    assert resumed.trainer.global_step == 8


@pytest.mark.slow
def test_processes_that_lightning_launched_stop_together(tmp_path):
    options = [*TINY, *on_votes(tmp_path), *OPTIONS, "trainer.max_epochs=200", f"output_dir={tmp_path / 'run'}"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
    process = start_process(*options, *ddp, "trainer.check_val_every_n_epoch=100")
    while len(curve(tmp_path / "run")) < 3 and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert output.count("SIGTERM: stopped after step") == 1
    assert (tmp_path / LAST).exists()


def resumes_from_random_moments(folder: Path, stops: int, *options: str) -> None:
    """Stop runs at random moments, from the start of the process to its last file, and resume each to its end."""
    whole = folder / "whole"
    start = time.monotonic()
    status, output = run_script(*options, f"output_dir={whole}")
    assert status == 0, output
    duration, draw = time.monotonic() - start, random.Random(int(os.environ.get("P2L_SEED", "0")))
    for number in range(stops):
        stopped, moment = folder / f"stopped {number}", draw.uniform(0.2, duration)
        process = start_script(*options, f"output_dir={stopped}", "resume=auto")
        wait([process.sentinel], moment)
        process.terminate()
        output, _ = process.communicate()
        assert process.returncode in (0, 143, -signal.SIGTERM), output
        step = saved_step(stopped / "checkpoints" / "last.ckpt")
        status, output = run_script(*options, f"output_dir={stopped}", "resume=auto")
        assert status == 0, output
        different = largest_difference(weights(whole / "checkpoint"), weights(stopped / "checkpoint"))
        log.info("%.1f of %.1f s, saved at step %s: largest difference %g", moment, duration, step, different)
        assert different == 0
        shutil.rmtree(stopped)


@pytest.mark.slow
def test_sigterm_at_random_moments_of_a_process(tmp_path):
    """P2L_STOPS=10 repeats the acceptance run."""
    options = [*TINY, *on_votes(tmp_path), *OPTIONS, "trainer.max_epochs=10"]
    resumes_from_random_moments(tmp_path, int(os.environ.get("P2L_STOPS", "3")), *options)


DEMO = (
    *("experiment=demo", "logger=csv", "example_prompts=[]", "~callbacks.run_page", "~callbacks.truth"),
    *("trainer.max_epochs=-1", "trainer.max_steps=8", "trainer.val_check_interval=3", "data.held_out=0.03"),
)


@pytest.mark.slow
@pytest.mark.skipif("P2L_DEMO_STOPS" not in os.environ, reason="takes minutes; P2L_DEMO_STOPS=10 runs it")
def test_sigterm_at_random_moments_of_a_demo(tmp_path):
    """The first steps of the demo: pretrained MiniLM, averaged weights, rates that rise and fall."""
    resumes_from_random_moments(tmp_path, int(os.environ["P2L_DEMO_STOPS"]), *DEMO)


@pytest.mark.slow
def test_ctrl_c_before_the_first_step_is_no_traceback(tmp_path):
    process = start_process("experiment=demo", "logger=none", f"output_dir={tmp_path}")
    time.sleep(3)
    output = ""
    for _ in range(20):  # an import may swallow one
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(timeout=6)
            break
    assert process.returncode in (130, -signal.SIGINT), output
