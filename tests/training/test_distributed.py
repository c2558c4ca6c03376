"""Several processes over gloo follow the same curve as one, and resume from each other's checkpoints."""

from pathlib import Path

import pytest

from p2l.models import load_checkpoint
from tests.ranks import finish, start_on_ranks
from tests.running import TINY, curve, largest_difference, on_votes, run, start_process, weights

pytestmark = pytest.mark.slow

# float32 sums in another order; 1e-7 and 2e-7 were measured
RELATIVE, ABSOLUTE = 1e-5, 1e-5
OPTIONS = [
    "trainer.max_epochs=2",
    "trainer.val_check_interval=0.5",
    "batching.shuffle=prompts",
    "batching.token_budget=128",
    "optimizer.lr=0.001",
    "example_prompts=[hello]",
    "model.scratch.num_key_value_heads=2",
]
# one checkpoint is kept from the end of the first epoch
KEEP = ["callbacks.last.every_n_train_steps=4", "+callbacks.last.save_top_k=-1", "callbacks.last.filename='{step}'"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true"]
FSDP2 = ["trainer=fsdp2", "trainer.accelerator=cpu", "trainer.strategy.compute_dtype=null"]
FOLDERS = [*FSDP2, "trainer.strategy.save_distributed_checkpoint=true"]
LAUNCHED = "ddp on 2 as Lightning starts it"
SPLIT = [*FSDP2, "trainer.strategy.tensor_parallel_size=2", "trainer.gradient_clip_val=100"]
RUNS = {
    "ddp on 4": (4, DDP),
    "fsdp2 on 2": (2, FSDP2),
    "fsdp2 on 4": (4, FOLDERS),
    "tensor parallel on 2 x 2": (4, SPLIT),
}
RESUMED = {
    ("ddp on 4", "one"): (1, []),
    ("fsdp2 on 2", "one"): (1, []),
    ("fsdp2 on 4", "fsdp2 on 1"): (1, FOLDERS),
    ("fsdp2 on 4", "fsdp2 on 2"): (2, FOLDERS),
}


def train_on_rank(folder: Path, *options: str) -> None:
    run(folder, *options)


def train_on(world_size: int, folder: Path, *options: str) -> None:
    place = f"trainer.devices={world_size}"
    finish(start_on_ranks(world_size, train_on_rank, folder, *OPTIONS, *KEEP, *options, place))


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    """Return a folder with vote files, and the options of a run on them."""
    folder = tmp_path_factory.mktemp("distributed")
    return folder, [*on_votes(folder), f"data.test={folder / 'val.jsonl'}"]


@pytest.fixture(scope="module")
def runs(votes):
    """Return the folder of each run, and of the run in this process."""
    folder, data = votes
    script = start_process(*TINY, *data, *OPTIONS, *DDP, "trainer.devices=2", f"output_dir={folder / LAUNCHED}")
    run(folder, *OPTIONS, *data, f"output_dir={folder / 'one process'}")
    for name, (world_size, strategy) in RUNS.items():
        train_on(world_size, folder, *data, *strategy, f"output_dir={folder / name}")
    output, _ = script.communicate(timeout=300)
    assert script.returncode == 0, output
    return {name: folder / name for name in ("one process", LAUNCHED, *RUNS)}


@pytest.mark.parametrize("name", [LAUNCHED, *RUNS])
@pytest.mark.parametrize("metric", ["train/loss", "val/log_loss", "val/accuracy", "test/log_loss"])
def test_the_curve_is_that_of_one_process(runs, name, metric):
    expected = curve(runs["one process"], metric)
    assert len(expected) == {"train/loss": 8, "val/log_loss": 5, "val/accuracy": 5, "test/log_loss": 1}[metric]
    assert curve(runs[name], metric) == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize("name", [LAUNCHED, *RUNS])
def test_the_published_weights_are_those_of_one_process(runs, name):
    expected, found = (weights(runs[folder] / "checkpoint") for folder in ("one process", name))
    assert largest_difference(found, expected) < ABSOLUTE
    assert load_checkpoint(str(runs[name] / "checkpoint")).family.name == "grk"


@pytest.mark.parametrize("name", [LAUNCHED, *RUNS])
def test_the_files_of_a_run_are_all_there(runs, name):
    for file in ("eval_output.jsonl", "test_report.json", "leaderboards.png", "checkpoints/best.ckpt"):
        assert (runs[name] / file).exists(), file


@pytest.mark.parametrize(("saved_by", "resumed_by"), RESUMED)
def test_a_run_goes_on_with_fewer_processes(votes, runs, saved_by, resumed_by):
    folder, data = votes
    world_size, strategy = RESUMED[saved_by, resumed_by]
    checkpoint = runs[saved_by] / "checkpoints" / "step=4.ckpt"
    assert len(list(checkpoint.glob("*.distcp"))) == (4 if saved_by == "fsdp2 on 4" else 0)
    then = folder / f"{saved_by} then {resumed_by}"
    train_on(world_size, folder, *data, *strategy, f"output_dir={then}", f"resume='{checkpoint}'")
    whole = runs["one process"]
    assert curve(then) == pytest.approx(curve(whole)[4:], rel=RELATIVE)
    assert curve(then, "val/log_loss")[:2] == pytest.approx(curve(whole, "val/log_loss")[2:4], rel=RELATIVE)
