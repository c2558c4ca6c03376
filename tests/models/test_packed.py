"""Prompts in one row get the rankings that they get side by side, and alone."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AttentionInterface, AutoConfig, AutoModel

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models import P2LModel, prepare_backbone
from p2l.models.packed import pack_row
from tests.running import DECODER_SIZES, ENCODER_SIZES, ENCODERS

CLS, PAD = 49, 0
PROMPTS = ((3, 1, 4, 1, 5, 9, 2, CLS), (CLS,), (6, 5, CLS), (CLS,), (3, 5, 8, 9, 7, 9, CLS))
SIZES = {**DECODER_SIZES, "pad_token_id": PAD, "initializer_range": 0.3}
DECODERS = {
    "qwen2": {},
    "qwen2 with a window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
    "llama": {},
    "qwen3": {},
    "mistral": {"sliding_window": 4},
    "gemma3_text": {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
    "smollm3": {},
}


def model_of(name: str, readout: str = "cls", attention: str = "sdpa", **sizes: object) -> P2LModel:
    torch.manual_seed(0)
    sizes = {**SIZES, **DECODERS.get(name, {}), **sizes}
    backbone = AutoModel.from_config(
        AutoConfig.for_model(sizes.pop("model_type", name), **sizes), attn_implementation=attention
    )
    return P2LModel(prepare_backbone(backbone), RankingHead(16, 5, "grk"), readout, CLS).eval()


def batch(prompts=PROMPTS):
    width = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[PAD] * (width - len(prompt))] for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids, (torch.arange(width) < lengths[:, None]).long()


def packed_model(name: str, *args: str) -> P2LModel:
    model = model_of(name, *args)
    return P2LModel(model.model, model.head, model.readout, CLS, packed=True).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("readout", ["cls", "mean"])
@pytest.mark.parametrize("name", DECODERS)
def test_rankings_are_those_of_padded_prompts(name, readout, attention):
    model, packed = model_of(name, readout, attention), packed_model(name, readout, attention)
    with torch.no_grad():
        expected, found = model(*batch()), packed(*batch())
        alone = torch.cat([model(*batch([prompt])).coefs for prompt in PROMPTS])
    torch.testing.assert_close(found.coefs, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.coefs, expected.coefs, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.eta, expected.eta, rtol=0, atol=1e-5)
    assert found.coefs.std(dim=0).min() > 1e-2  # the prompts differ, or equality would say nothing


def encoder_of(kind: str, packed: bool) -> P2LModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**ENCODER_SIZES, **ENCODERS[kind]})
    backbone = prepare_backbone(AutoModel.from_config(config))
    return P2LModel(backbone, RankingHead(16, 5, "grk"), "mean", CLS, packed=packed).eval()


@pytest.mark.parametrize("kind", ENCODERS)
def test_rankings_and_gradients_of_encoders_are_those_of_padded_prompts(kind):
    found = {}
    for packed in (False, True):
        model = encoder_of(kind, packed)
        ranking = model(*batch())
        (ranking.coefs.square().sum() + ranking.eta.sum()).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found[packed] = (ranking, gradients)
    (expected, expected_gradients), (ranking, gradients) = found[False], found[True]
    torch.testing.assert_close(ranking.coefs, expected.coefs, rtol=0, atol=1e-5)
    assert ranking.coefs.std(dim=0).min() > 1e-3
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-4, msg=name)


def by_bounds(module, query, key, value, attention_mask, scaling, **arguments):
    """Stands in for flash-attention, which has no CPU kernel: attention within the bounds that it is handed."""
    assert attention_mask is None
    bounds = arguments["cu_seq_lens_q"].tolist()
    assert bounds == arguments["cu_seq_lens_k"].tolist()
    assert arguments["max_length_q"] == arguments["max_length_k"] >= max(b - a for a, b in pairwise(bounds))
    parts = [
        F.scaled_dot_product_attention(
            *(x[:, :, a:b] for x in (query, key, value)), is_causal=True, scale=scaling, enable_gqa=True
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_what_flash_attention_is_handed(name):
    AttentionInterface.register("flash_of_the_tests", by_bounds)
    packed = packed_model(name)
    packed.model.config._attn_implementation_internal = "flash_of_the_tests"  # past the search for a real kernel
    with torch.no_grad():
        found = packed(*batch())
        torch.testing.assert_close(found.coefs, model_of(name)(*batch()).coefs, rtol=0, atol=1e-5)


def test_a_row_of_one_prompt():
    with torch.no_grad():
        torch.testing.assert_close(
            packed_model("qwen2")(*batch(PROMPTS[:1])).coefs, model_of("qwen2")(*batch(PROMPTS[:1])).coefs
        )


def test_the_layout_of_a_row():
    row = pack_row(*batch(((7, 8, CLS), (CLS,), (9, CLS))))
    assert row.input_ids.tolist() == [[7, 8, CLS, CLS, 9, CLS]]
    assert row.position_ids.tolist() == [[0, 1, 2, 0, 0, 1]]
    assert row.bounds.tolist() == [0, 3, 4, 6]
    arguments = row.flash_arguments()
    assert arguments["cu_seq_lens_q"].dtype == torch.int32  # what the kernel asks for
    assert arguments["max_length_k"] == 3


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("bert", {"attention": "eager"}),
        ("bert", {"is_decoder": True}),
        ("mpnet", {"attention": "eager"}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("mamba", {"attention": "eager"}),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"]}),
    ],
)
def test_backbones_that_would_mix_prompts_are_refused(name, sizes):
    backbone = model_of(name, **sizes).model
    with pytest.raises(ConfigError, match="would mix the prompts of a row; set model.packed=false"):
        P2LModel(backbone, RankingHead(16, 5, "grk"), "cls", CLS, packed=True)
