"""The formulas of the cost model, compared to counts of torch."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from p2l.models import prepare_backbone
from p2l.training.training_cost import H100, STATES, WIRE, BackboneShape, step_cost

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "use_cache": False,
}
QWEN_1_5B = {
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
}
TOKENS = 24


def config_of(model_type: str, **sizes: int) -> PreTrainedConfig:
    return AutoConfig.for_model(model_type, **{**SIZES, **sizes})


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "mistral"])
@pytest.mark.parametrize("sizes", [{}, QWEN_1_5B], ids=["tiny", "1.5B"])
def test_parameters(model_type, sizes):
    config = config_of(model_type, **sizes)
    with torch.device("meta"):
        backbone = AutoModel.from_config(config)
    assert BackboneShape.from_config(config).num_parameters == sum(p.numel() for p in backbone.parameters())


@pytest.mark.parametrize("recomputed", [False, True])
def test_flops(recomputed):
    config = config_of("qwen2")
    shape = BackboneShape.from_config(config)
    backbone = AutoModel.from_config(config, attn_implementation="eager").train()
    prepare_backbone(backbone, gradient_checkpointing=recomputed)
    ids = torch.ones(2, TOKENS, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        states = backbone(input_ids=ids).last_hidden_state
    assert counter.get_total_flops() == pytest.approx(2 * shape.forward_flops(TOKENS, causal=False), rel=0.01)
    with FlopCounterMode(display=False) as counter:
        states.sum().backward()
    in_backward = shape.training_flops(TOKENS, recomputed=recomputed, causal=False) - shape.forward_flops(
        TOKENS, causal=False
    )
    # recomputation stops at the last tensor that is needed, and the first layer needs no gradient of its input
    assert counter.get_total_flops() == pytest.approx(2 * in_backward, rel=0.12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations(dtype):
    config = config_of("qwen2", hidden_size=64, intermediate_size=160)
    shape = BackboneShape.from_config(config)
    backbone = AutoModel.from_config(config, attn_implementation="sdpa").to(dtype)
    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = backbone(input_ids=torch.ones(1, 512, dtype=torch.long)).last_hidden_state
    assert states.requires_grad
    found = sum(kept.values())
    assert shape.activations(512, recomputed=False, item=dtype.itemsize) == pytest.approx(found, rel=0.15)


def test_states_by_hand():
    assert {name: state.on_each(8) for name, state in STATES.items()} == {
        "ddp": 18,
        "zero1": 2 + 2 + 12 / 8,
        "zero2": 2 + 2 / 8 + 12 / 8,
        "zero3": 2,
        "fsdp": 2,
        "fsdp2": 2,
    }
    assert all(state.on_each(1) >= 16 for state in STATES.values())
    assert WIRE.keys() == STATES.keys()


def test_what_limits_a_step():
    shape = BackboneShape.from_config(config_of("qwen2", **QWEN_1_5B))
    many = step_cost(shape, H100, strategy="fsdp2", num_ranks=8, tokens=32768, prompt_tokens=512)
    few = step_cost(shape, H100, strategy="fsdp2", num_ranks=8, tokens=512, prompt_tokens=512, in_node=False)
    assert many.limit == "compute"
    assert few.limit == "interconnect"
    assert few.wire == pytest.approx(8 * shape.num_parameters / 50e9)
    # 4 x 2 x parameters of the blocks x tokens, and a little for attention
    blocks = shape.num_parameters - 151936 * 1536
    assert many.compute == pytest.approx(8 * blocks * 32768 / (0.4 * 989e12), rel=0.05)
