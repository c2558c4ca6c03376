"""A model whose layers are split over ranks has the loss and the gradients of the whole one."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModel

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models import LoRA, P2LModel, prepare_backbone
from p2l.models.blocks import compile_blocks
from p2l.training.sharding import FSDP2Strategy, shard
from p2l.training.tensor_parallel import split_layers
from tests.ranks import on_ranks
from tests.running import DECODER_SIZES, build

CLS = 49


def tiny(model_type: str, **sizes: int) -> P2LModel:
    torch.manual_seed(0)
    backbone = AutoModel.from_config(AutoConfig.for_model(model_type, **{**DECODER_SIZES, **sizes}))
    return P2LModel(prepare_backbone(backbone), RankingHead(16, 5, "grk"), "cls", CLS)


def loss_and_gradients(model: P2LModel) -> tuple[float, dict[str, torch.Tensor]]:
    ids = torch.tensor([[3, 1, 4, 1, 5, CLS], [9, 2, 6, CLS, 0, 0]])
    ranking = model(ids, (ids > 0).long())
    loss = (ranking.coefs.square().sum() + ranking.eta.sum()) * 10
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # over all parameters at once
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    whole = {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in gradients.items()}
    return loss.item(), {**whole, "norm": norm.full_tensor() if isinstance(norm, DTensor) else norm}


def split_on_rank(model_type: str, data_parallel: int, tensor_parallel: int):
    dist.init_process_group("gloo")
    mesh = init_device_mesh(
        "cpu", (data_parallel, tensor_parallel), mesh_dim_names=("data_parallel", "tensor_parallel")
    )
    model = tiny(model_type).train()
    prepare_backbone(model.model, gradient_checkpointing=True)
    shard(model, mesh, MixedPrecisionPolicy())
    held = sum(p.to_local().numel() for p in model.parameters())
    found = loss_and_gradients(model)
    dist.destroy_process_group()
    return held, found


@pytest.mark.parametrize(("model_type", "data_parallel"), [("qwen2", 2), ("llama", 1), ("qwen3", 1)], ids=str)
def test_loss_and_gradients_are_those_of_the_whole(model_type, data_parallel):
    model = tiny(model_type)
    loss, gradients = loss_and_gradients(model)
    for held, (found_loss, found) in on_ranks(2 * data_parallel, split_on_rank, model_type, data_parallel, 2):
        assert found_loss == pytest.approx(loss, rel=1e-6)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        assert held < 0.85 * model.num_parameters / data_parallel  # embeddings, norms and head are replicated


def sharded_on_rank():
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("data_parallel", "tensor_parallel"))
    model = tiny("qwen2").train()
    prepare_backbone(model.model, gradient_checkpointing=True)
    compile_blocks(model.model, "aot_eager")
    shard(model, mesh, MixedPrecisionPolicy())
    found = loss_and_gradients(model)
    dist.destroy_process_group()
    return found


def test_shards_of_compiled_blocks_that_compute_activations_again():
    loss, gradients = loss_and_gradients(tiny("qwen2"))
    for found_loss, found in on_ranks(2, sharded_on_rank):
        assert found_loss == pytest.approx(loss, rel=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def mesh_of_two(monkeypatch):
    """Return a mesh whose second rank is missing, which suffices for errors."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


def test_what_cannot_be_split(mesh_of_two):
    encoder = AutoModel.from_config(AutoConfig.for_model("bert", **DECODER_SIZES))
    with pytest.raises(ConfigError, match="no tensor-parallel plan for bert"):
        split_layers(P2LModel(prepare_backbone(encoder), RankingHead(16, 5, "bt"), "cls", CLS), mesh_of_two)
    with pytest.raises(ConfigError, match="the 1 key-value heads of this qwen2 do not divide by 2 ranks"):
        split_layers(tiny("qwen2", num_key_value_heads=1), mesh_of_two)
    adapted = tiny("qwen2")
    prepare_backbone(adapted.model, lora=LoRA(rank=2))
    with pytest.raises(ConfigError, match="adapters cannot be split"):
        split_layers(adapted, mesh_of_two)
    compiled = tiny("qwen2")
    compile_blocks(compiled.model, "eager")
    with pytest.raises(ConfigError, match="compiled blocks cannot be split"):
        split_layers(compiled, mesh_of_two)
    experts = tiny("qwen3_moe", num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8)
    with pytest.raises(
        ConfigError, match="plan of qwen3_moe needs moe_tp_experts, packed_colwise, which is not supported"
    ):
        split_layers(experts, mesh_of_two)


def test_groups_must_be_whole(tmp_path):
    *_, trainer = build(
        tmp_path,
        "trainer=fsdp2",
        "trainer.accelerator=cpu",
        "trainer.devices=4",
        "trainer.strategy.compute_dtype=null",
        "trainer.strategy.tensor_parallel_size=3",
    )
    assert isinstance(trainer.strategy, FSDP2Strategy)
    with pytest.raises(ConfigError, match="must divide the number of devices, 4; got 3"):
        _ = trainer.strategy.data_parallel_size
