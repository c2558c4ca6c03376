"""A run stops at its first loss, gradient, weight or ranking that is not finite; nothing of it is published."""

import logging
import math
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.optim import Optimizer

from p2l.commands.publish import PublishJob
from p2l.composition.hydra_task import HydraTask
from p2l.errors import CheckpointError, DivergedError
from p2l.training import train
from p2l.training.stored_weights import stored_weights
from tests.ranks import on_ranks
from tests.running import TINY, build, compose, on_votes, run

QUIET = ("callbacks=none", "callbacks.last.every_n_train_steps=1", "trainer.max_epochs=2")


class Spoil(Callback):
    """Puts a number into one gradient, weight or loss of a step, counted from 1, as broken training would."""

    def __init__(self, what: str, step: int, value: float = math.nan, rank: int = 0, until: int | None = None) -> None:
        self.what, self.steps, self.value, self.rank = what, range(step, (until or step) + 1), value, rank

    def _now(self, trainer: Trainer) -> bool:
        return trainer.global_step + 1 in self.steps and trainer.global_rank == self.rank

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.what == "gradient" and self._now(trainer):
            grad = pl_module.model.head.head.bias.grad
            (grad.to_local() if hasattr(grad, "to_local") else grad)[-1:] = self.value

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self.what == "weight" and self._now(trainer):
            with torch.no_grad():
                pl_module.model.head.eta_head.weight.fill_(self.value)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx: int) -> None:
        if self.what == "loss" and self._now(trainer):
            batch.scale.fill_(self.value)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.what == "ranking" and not trainer.sanity_checking:
            pl_module.model.head.register_forward_hook(lambda m, i, out: out.map(lambda x: x + self.value))


def diverging(folder: Path, spoil: Callback, *options: str) -> str:
    """Run with the callback; return the message of the error."""
    module, data, trainer = build(folder, *QUIET, *options)
    trainer.callbacks.insert(0, spoil)
    with pytest.raises(DivergedError) as error:
        train(module, data, trainer)
    return str(error.value)


def saved_finite(folder: Path) -> bool:
    checkpoints = [*(folder / "run" / "checkpoints").glob("*.ckpt")]
    return all(bool(t.read().isfinite().all()) for path in checkpoints for t in stored_weights(path).values())


RATES = {
    "the rate of the issue": ("optimizer.lr=1e9", "loss|gradient"),
    "the head's rate alone": ("optimizer.head_lr=1e36", "loss|gradient"),
    "weight decay": ("optimizer.weight_decay=1e30", "loss|gradient"),
}


@pytest.mark.parametrize(("option", "message"), RATES.values(), ids=RATES)
def test_absurd_options_end_with_one_message_and_leave_no_checkpoint(tmp_path, caplog, option, message):
    given = [o for o in TINY if o.partition("=")[0] != option.partition("=")[0]]
    folder = tmp_path / "run"
    cfg = compose(*given, *on_votes(tmp_path), *QUIET, "trainer.max_epochs=20", f"output_dir={folder}", option)
    with pytest.raises(SystemExit) as end:
        HydraTask("train")(cfg)
    assert end.value.code == 2
    (error,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)
    assert "step " in error and "optimizer.lr" in error
    assert not (folder / "checkpoint").exists() and not (folder / "eval_output.jsonl").exists()
    assert saved_finite(tmp_path)


@pytest.mark.parametrize("val", [(), ("data.val=null",)], ids=["validated", "not validated"])
def test_a_finite_but_absurd_loss_is_not_published(tmp_path, val) -> None:
    """Weights stay finite under a rate of 1e30 if the backbone normalises what it reads."""
    module, data, trainer = build(tmp_path, "optimizer.lr=0", "optimizer.head_lr=1e30", *val)
    with pytest.raises(
        DivergedError, match=r"training diverged: (val/log_loss|train/loss) is .*e\+\d\d nats a vote at"
    ):
        train(module, data, trainer)
    assert not (tmp_path / "run" / "checkpoint").exists() and not (tmp_path / "run" / "posterior.json").exists()
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    if not val:
        assert best.exists()
        with pytest.raises(CheckpointError, match=r"best.ckpt: training diverged: val/log_loss is"):
            PublishJob(str(tmp_path / "run"), str(tmp_path / "out"), checkpoint="best.ckpt").run()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_gradient_that_is_not_finite(tmp_path, value):
    message = diverging(tmp_path, Spoil("gradient", 3, value))
    assert "a gradient of step 3 is not finite: the gradient of head.head.bias has 1 of 6 numbers" in message
    found = stored_weights(tmp_path / "run" / "checkpoints" / "last.ckpt")  # of step 2
    assert all(bool(tensor.read().isfinite().all()) for tensor in found.values())


def test_a_weight_that_is_not_finite(tmp_path):
    message = diverging(tmp_path, Spoil("weight", 1))
    assert "a weight is not finite after step 1: head.eta_head.weight has 16 of 16 numbers" in message
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_a_loss_that_is_not_finite(tmp_path):
    assert "the loss of step 5 is " in diverging(tmp_path, Spoil("loss", 5, math.inf))


def test_rankings_that_are_not_finite(tmp_path):
    message = diverging(tmp_path, Spoil("ranking", 0, math.inf))
    assert message.startswith("val at step 4: the rankings of 6 of 6 prompts are NaN or infinite")
    assert not (tmp_path / "run" / "checkpoint").exists()


def diverge_on_rank(folder: Path, spoil: Spoil, *options: str) -> str:
    return diverging(folder, spoil, "trainer.accelerator=cpu", *options)


DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2")
FSDP2 = ("trainer=fsdp2", "trainer.accelerator=cpu", "trainer.strategy.compute_dtype=null", "trainer.devices=2")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [DDP, FSDP2], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_all_ranks_stop_at_the_same_step(tmp_path, strategy, what):
    on_votes(tmp_path)
    first, second = on_ranks(2, diverge_on_rank, tmp_path, Spoil(what, 3, math.inf, rank=1), *strategy)
    assert "step 3" in first and "step 3" in second


def scaled(folder: Path, spoil: Spoil, *options: str) -> tuple[LightningModule, Trainer]:
    """Run in float16 on the CPU, with the loss scale that a GPU would have."""
    module, data, trainer = build(folder, *QUIET, "trainer.val_check_interval=1.0", *options)
    trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu")
    trainer.callbacks.insert(0, spoil)
    train(module, data, trainer)
    return module, trainer


def test_an_overflow_under_a_loss_scale_leaves_out_the_step(tmp_path):
    _, trainer = scaled(tmp_path, Spoil("gradient", 3, math.inf))
    assert trainer.global_step == 8
    assert trainer.precision_plugin.scaler.get_scale() == 65536 / 2
    assert (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # no step has been done
def test_an_overflow_at_every_loss_scale_ends_the_run(tmp_path):
    with pytest.raises(DivergedError, match="a gradient of step 17 .* overflow float16 at every scale"):
        scaled(tmp_path, Spoil("gradient", 1, math.inf, until=99), "trainer.max_epochs=10")


def test_a_saved_state_that_is_not_finite_is_not_resumed(tmp_path):
    last = run(tmp_path, *QUIET).folder / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=False)
    state["state_dict"]["model.model.embed_tokens.weight"][0, 1] = math.nan
    torch.save(state, last)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: model\.model\.embed_tokens\.weight has 1 of "):
        run(tmp_path, *QUIET, f"resume={tmp_path / 'run'}")


def test_a_start_that_is_not_finite(tmp_path):
    module, data, trainer = build(tmp_path, *QUIET)
    with torch.no_grad():
        bias: Tensor = module.model.head.head.bias
        bias[2] = -math.inf
    with pytest.raises(DivergedError, match="a weight is not finite at step 0, where training starts: head.head.bias"):
        train(module, data, trainer)
