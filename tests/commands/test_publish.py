"""What is published from the checkpoints of a run is what the run itself publishes."""

import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from p2l.commands.publish import PublishJob, write_weights
from p2l.errors import CheckpointError
from p2l.models import load_checkpoint
from p2l.training.stored_weights import stored_weights
from tests.ranks import on_ranks
from tests.running import compose, largest_difference, on_votes, run, run_script, weights

CPU = ["trainer.accelerator=cpu", "example_prompts=[hello]"]
SHARDED = [*CPU, "trainer=fsdp2", "trainer.strategy.compute_dtype=null"]
FOLDERS = [*SHARDED, "trainer.strategy.save_distributed_checkpoint=true"]


def train_on_rank(folder: Path, *options: str) -> None:
    run(folder, *options)


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    on_votes(folder)
    return folder


@pytest.fixture(scope="module")
def whole(votes):
    """A run on one process, with adapters."""
    adapters = ["lora=default", "model.lora.rank=2", "model.lora.alpha=8"]
    on_ranks(1, train_on_rank, votes, *adapters, f"output_dir={votes / 'whole'}")
    return votes / "whole"


@pytest.fixture(scope="module")
def shards(votes):
    """A run on four processes that split layers two by two, each of which saves its shards."""
    split = ["trainer.devices=4", "trainer.strategy.tensor_parallel_size=2", "model.scratch.num_key_value_heads=2"]
    on_ranks(4, train_on_rank, votes, *FOLDERS, *split, f"output_dir={votes / 'shards'}")
    return votes / "shards"


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("kind", ["whole", "shards"])
def test_a_checkpoint_is_published_as_the_run_does(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    made = PublishJob(str(folder), str(tmp_path / "made")).run()
    assert files(made) == files(folder / "checkpoint")
    for name in ("config.json", "model_list.json", "p2l.json", "tokenizer.json"):
        assert (made / name).read_bytes() == (folder / "checkpoint" / name).read_bytes(), name
    assert largest_difference(weights(made), weights(folder / "checkpoint")) < 1e-6
    assert load_checkpoint(str(made)).family.name == "grk"


def card_numbers(folder: Path) -> dict[str, float]:
    """The metrics of a card, and nothing else of it."""
    rows = [line.strip("| ").split(" | ") for line in (folder / "README.md").read_text().splitlines() if "/" in line]
    return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[0].startswith(("val/", "train/"))}


def test_the_card_has_the_metrics_of_the_weights_that_are_published(tmp_path):
    """The weights that are kept as the best are those of the highest loss, so that the last ones are others."""
    finished = run(tmp_path, *CPU, "trainer.max_epochs=4", "trainer.val_check_interval=2", "+callbacks.best.mode=max")
    steps = finished.trainer.global_step
    losses, accuracy = (finished.curve(name)[: steps // 2] for name in ("val/log_loss", "val/accuracy"))
    best = PublishJob(str(finished.folder), str(tmp_path / "best")).run()
    last = PublishJob(str(finished.folder), str(tmp_path / "last"), checkpoint="last.ckpt").run()
    assert losses[-1] < max(losses) - 1e-3
    assert card_numbers(best) == card_numbers(finished.folder / "checkpoint")
    assert card_numbers(best)["val/log_loss"] == pytest.approx(max(losses), abs=1e-4)
    assert card_numbers(last)["val/log_loss"] == pytest.approx(losses[-1], abs=1e-4)
    assert card_numbers(last)["val/accuracy"] == pytest.approx(accuracy[-1], abs=1e-4)
    assert f"| published from | last.ckpt, step {steps} |" in (last / "README.md").read_text()
    warning = load_checkpoint(str(last)).warning
    assert (warning is None) == (card_numbers(last)["val/log_loss_minus_marginal"] < 0)


def test_a_state_that_was_not_validated_has_no_metrics(tmp_path):
    options = ("trainer.max_steps=3", "trainer.val_check_interval=2", "trainer.max_epochs=-1")
    finished = run(tmp_path, *CPU, *options, "callbacks.last.every_n_train_steps=1")
    made = PublishJob(str(finished.folder), str(tmp_path / "made"), checkpoint="last.ckpt").run()
    assert card_numbers(made) == {} and "last.ckpt, step 3, without validation |" in (made / "README.md").read_text()
    assert "metrics" not in load_checkpoint(str(made)).recipe


def test_by_the_script_in_another_precision_and_in_parts(shards, tmp_path):
    checkpoint = shards / "checkpoints" / "best.ckpt"
    status, output = run_script(
        f"run={shards}",
        f"checkpoint={checkpoint}",
        f"output={tmp_path / 'made'}",
        "dtype=bfloat16",
        "max_shard_size=4KB",
        f"output_dir={tmp_path}",
        script="publish",
    )
    assert status == 0, output
    assert len(list((tmp_path / "made").glob("model-*.safetensors"))) > 2
    made, published = load_checkpoint(str(tmp_path / "made")), load_checkpoint(str(shards / "checkpoint"))
    for name, value in published.model.state_dict().items():
        torch.testing.assert_close(made.model.state_dict()[name], value.bfloat16().float(), rtol=0, atol=0, msg=name)


def zero_on_rank(folder: Path, stage: int) -> dict[str, torch.Tensor]:
    """Two steps of DeepSpeed on the CPU; its engine saves as Lightning has it save."""
    import deepspeed

    deepspeed.comm.torch.build_shm_op = lambda: None  # a kernel that it would compile for a minute
    module = nn.ModuleDict({"model": nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))})
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=config, dist_init_required=True)
    for _ in range(2):
        engine.backward(engine.module["model"](torch.ones(1, 6)).square().sum())
        engine.step()
    engine.save_checkpoint(str(folder), tag="checkpoint", client_state={}, exclude_frozen_parameters=False)
    with deepspeed.zero.GatheredParameters(list(module.parameters())):
        return {name.removeprefix("model."): p.detach().clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_shards_of_zero(stage, tmp_path):
    pytest.importorskip("deepspeed", reason="needs deepspeed (extra: gpu)")
    expected, _ = on_ranks(2, zero_on_rank, tmp_path / "zero.ckpt", stage)
    found = {name: tensor.read() for name, tensor in stored_weights(tmp_path / "zero.ckpt").items()}
    assert largest_difference(found, expected) == 0


def test_a_run_without_a_description_or_a_checkpoint(whole, tmp_path):
    with pytest.raises(CheckpointError, match="description is missing; callbacks.publish"):
        PublishJob(str(tmp_path), str(tmp_path / "made")).run()
    with pytest.raises(CheckpointError, match=r"there is neither .*nothing.ckpt nor .*nothing.ckpt; .*contains "):
        PublishJob(str(whole), str(tmp_path / "made"), checkpoint="nothing.ckpt").run()
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged or not a Lightning checkpoint"):
        PublishJob(str(whole), str(tmp_path / "made"), checkpoint=str(damaged)).run()
    assert not (tmp_path / "made").exists()


def big_on_rank(folder: Path) -> None:
    dist.init_process_group("gloo")
    model = nn.ModuleList(nn.Linear(1024, 1024, bias=False) for _ in range(32))  # 128 MiB
    for layer in model:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    dcp.save(
        {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, checkpoint_id=folder
    )
    dist.destroy_process_group()


def peak_of_writing(folder: Path, output: Path) -> tuple[int, int]:
    """Bytes of the weights, and by how much the peak of resident memory rose while they were written."""
    output.mkdir()
    found = stored_weights(folder)
    # what libraries need at their first use
    write_weights(output, {"first": next(iter(found.values()))}, None, "8MB", folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    write_weights(output, found, None, "8MB", folder)
    return sum(tensor.num_bytes for tensor in found.values()), resident("VmHWM") - before


def resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read off Linux's /proc")
def test_the_model_is_never_held(tmp_path):
    on_ranks(2, big_on_rank, tmp_path / "big")
    [(size, peak)] = on_ranks(1, peak_of_writing, tmp_path / "big", tmp_path / "made")
    shutil.rmtree(tmp_path)
    assert size == 2**27
    assert peak < size / 4  # 8 MB files, and what reading and writing them takes


@pytest.mark.parametrize(
    ("options", "output"),
    [((), "r/checkpoint"), (("output_dir=o",), "o/checkpoint"), (("output_dir=o", "output=p"), "p")],
)
def test_the_checkpoint_is_written_where_the_options_say(options: tuple[str, ...], output: str) -> None:
    assert compose("run=r", *options, config="publish").job.output == output
