"""No checkpoint whose weights are not finite is written, read, published or served; the error names file and tensor."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from p2l.commands.publish import PublishJob
from p2l.errors import CheckpointError
from p2l.models import ModelRecipe, Predictor, load_checkpoint, predict, save_checkpoint
from p2l.models.finite_weights import is_finite
from p2l.serving.endpoint.build_endpoint import load_predictor
from p2l.serving.endpoint.endpoint_settings import Settings
from tests.running import run

QKV = "layers.1.self_attn.q_proj.weight"


def spoil(file: Path, name: str, value: float = math.nan) -> None:
    """Put a number into a tensor of a file of weights."""
    tensors = load_file(file)
    tensors[name].view(-1)[0] = value
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8])
def test_finite_tensors_of_every_dtype(dtype):
    tensor = torch.arange(6).to(dtype).reshape(2, 3)
    assert is_finite(tensor) and is_finite(tensor[:0])
    if dtype.is_floating_point:
        spoiled = tensor.float()
        spoiled[1, 2] = math.nan
        assert not is_finite(spoiled.to(dtype))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("name", ["head.head.weight", "head.eta_head.bias", f"model.{QKV}"])
def test_neither_written_nor_read(tmp_path, tiny_checkpoint, name, value):
    folder = save_checkpoint(tmp_path / "fine", tiny_checkpoint)
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        tiny_checkpoint.model.get_parameter(name).view(-1)[0] = value
    with pytest.raises(CheckpointError, match=rf"fine: {name} has 1 of .* NaN or infinite"):
        save_checkpoint(folder, tiny_checkpoint)
    assert (folder / "model.safetensors").read_bytes() == before  # the folder is as it was
    spoil(folder / "model.safetensors", name, value)
    with pytest.raises(CheckpointError, match=rf"fine/model.safetensors: {name.removeprefix('model.')} has 1 of"):
        load_checkpoint(folder)


def test_the_part_that_holds_it_is_named(tmp_path, tiny_checkpoint):
    folder = save_checkpoint(tmp_path / "parts", tiny_checkpoint, max_shard_size="20KB")
    (part,) = [file for file in folder.glob("model-*.safetensors") if f"model.{QKV}" in load_file(file)]
    spoil(part, f"model.{QKV}")
    with pytest.raises(CheckpointError, match=rf"parts/{part.name}: {QKV} has 1 of"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["head.head.bias", f"model.{QKV}"])
def test_numbers_that_overflow_the_dtype_of_the_reader(tmp_path, tiny_checkpoint, name):
    folder = save_checkpoint(tmp_path / "large", tiny_checkpoint)
    spoil(folder / "model.safetensors", name, 1e30)
    assert load_checkpoint(folder).family.name == "grk"
    if not name.startswith("head"):  # the head stays float32
        with pytest.raises(CheckpointError, match="overflow this dtype; take an earlier checkpoint, or dtype=float32"):
            load_checkpoint(folder, dtype="float16")


def test_not_served_and_not_trained_further(tmp_path, tiny_checkpoint):
    folder = save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    spoil(folder / "model.safetensors", "head.head.bias")
    with pytest.raises(CheckpointError, match="head.head.bias has 1 of 4"):
        load_predictor(Settings(model_path=str(folder)), "cpu")
    recipe = ModelRecipe(path=str(folder), max_length=64)
    with pytest.raises(CheckpointError, match="head.head.bias has 1 of 4"):
        recipe.build(recipe.encoder(), lambda **sizes: pytest.fail("not reached"), ["alpha"])


def test_rankings_of_finite_weights_that_overflow(tiny_checkpoint):
    with torch.no_grad():
        tiny_checkpoint.model.head.head.weight.mul_(1e38)
        tiny_checkpoint.model.head.head.weight[0].mul_(10)
    for rank in (Predictor(tiny_checkpoint).rank, lambda prompts: predict(tiny_checkpoint, prompts)):
        with pytest.raises(CheckpointError, match="the ranking of 2 of 2 prompts is NaN or infinite, prompt 0 first"):
            rank(["hello", "a longer prompt"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    adapters = ("lora=default", "model.lora.rank=2", "model.lora.alpha=8")
    return run(folder, "callbacks=none", "trainer.max_steps=1", *adapters).folder


@pytest.mark.parametrize(
    ("tensor", "value", "options", "named"),
    [
        ("head.head.bias", math.nan, {}, "head.head.bias"),
        ("model.layers.0.mlp.up_proj.lora_B.default.weight", math.inf, {}, "model.layers.0.mlp.up_proj.weight"),
        ("head.head.bias", 1e6, {"dtype": "float16"}, "head.head.bias"),
    ],
)
def test_not_published(trained, tmp_path, tensor, value, options, named):
    state = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=False)
    state["state_dict"][f"model.{tensor}"].view(-1)[0] = value
    torch.save(state, tmp_path / "broken.ckpt")
    job = PublishJob(str(trained), str(tmp_path / "made"), str(tmp_path / "broken.ckpt"), **options)
    with pytest.raises(CheckpointError, match=rf"broken\.ckpt: {named} has "):
        job.run()
    assert not (tmp_path / "made").exists()
