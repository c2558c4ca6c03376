"""Rows without padding give the states that the backbone gives."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from p2l.data.prompt_encoder import PromptEncoder, PromptFormat
from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe
from p2l.models.predictor import Predictor, predict, rank_encoded
from p2l.models.prompt_states import SAME_STATE
from p2l.models.row_decoder import RowDecoder, runs_in_rows
from tests.running import DECODER_SIZES

PROMPTS = [np.array(ids) for ids in ([3, 1, 4, 1, 5, 9, 2, 49], [3, 1, 49], [49], [3, 1, 4, 49], [2, 7, 1, 8, 2, 49])]
OPENINGS = ([], [3, 1], [3, 1, 4, 1])
ROTATIONS = {
    "default": {},
    "linear": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 8},
}


def backbone_of(kind: str, **sizes: object):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**DECODER_SIZES, "initializer_range": 0.3, **sizes})
    backbone = AutoModel.from_config(config).eval()
    for name, parameter in backbone.named_parameters():
        if "norm" in name or name.endswith("bias"):  # else ones and zeros, which hide mistakes
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    return backbone


@torch.inference_mode()
def states(backbone, prompts=PROMPTS):
    return torch.cat([backbone(torch.from_numpy(ids)[None]).last_hidden_state[:, -1] for ids in prompts])


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("kind", ["qwen2", "llama", "qwen3", "mistral"])
def test_states_are_those_of_the_backbone(kind, opening):
    backbone = backbone_of(kind)
    assert runs_in_rows(backbone, 64)
    torch.testing.assert_close(RowDecoder(backbone, opening, 64)(PROMPTS), states(backbone), rtol=0, atol=2e-5)


@pytest.mark.parametrize("rope_type", ROTATIONS)
def test_scaled_rotations(rope_type):
    rope = {"rope_type": rope_type, "rope_theta": 100.0, **ROTATIONS[rope_type]}
    backbone = backbone_of("llama", rope_parameters=rope)
    assert runs_in_rows(backbone, 64)
    torch.testing.assert_close(RowDecoder(backbone, [3, 1], 64)(PROMPTS), states(backbone), rtol=0, atol=2e-5)


def test_another_activation_and_biases():
    backbone = backbone_of("llama", hidden_act="gelu", attention_bias=True, mlp_bias=True)
    torch.testing.assert_close(RowDecoder(backbone, [3], 64)(PROMPTS), states(backbone), rtol=0, atol=2e-5)


def test_backbones_of_another_kind_are_left_alone():
    assert not runs_in_rows(backbone_of("gemma3_text"), 64)
    assert not runs_in_rows(backbone_of("llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0}), 64)
    windowed = backbone_of("mistral", sliding_window=32)
    assert runs_in_rows(windowed, 32) and not runs_in_rows(windowed, 33)


def test_bfloat16_states_stay_near_those_of_float32():
    exact, backbone = states(backbone_of("qwen2")), backbone_of("qwen2").to(torch.bfloat16)
    found = RowDecoder(backbone, [3, 1], 64)(PROMPTS)
    assert found.dtype == torch.bfloat16
    assert ((found - exact).norm(dim=1) / exact.norm(dim=1)).max() < SAME_STATE


def test_threads_share_it():
    rows = RowDecoder(backbone_of("qwen2"), [3, 1], 64)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(rows, [PROMPTS[i % 5 :] for i in range(40)]))
    whole = rows(PROMPTS)
    assert all((part - whole[i % 5 :]).abs().max() < 1e-5 for i, part in enumerate(found))


def checkpoint_of(backbone_kind: str = "qwen2", **options: object) -> Checkpoint:
    sizes = {k: v for k, v in DECODER_SIZES.items() if k != "vocab_size"}
    recipe = ModelRecipe(
        scratch={"model_type": backbone_kind, **sizes, "initializer_range": 0.3}, max_length=64, **options
    )
    encoder, models = recipe.encoder(), ("a", "b", "c")
    return Checkpoint(recipe.build(encoder, partial(RankingHead, family="grk"), models).eval(), encoder, models)


TEXTS = ["hi", "a longer prompt " * 9, ["one", "two"], "", "中"]


@pytest.mark.parametrize(("kind", "readout"), [("qwen2", "cls"), ("llama", "cls"), ("qwen2", "mean")])
def test_a_predictor_ranks_as_the_network_does(kind, readout):
    checkpoint = checkpoint_of(kind, readout=readout)
    predictor = Predictor(checkpoint)
    assert predictor.pads == (readout == "mean")
    for found, expected in (
        (predictor.rank(TEXTS), predict(checkpoint, TEXTS)),
        (predictor.rank(TEXTS[:1]), rank_encoded(checkpoint.model, predictor.encode(TEXTS[:1]))),
    ):
        torch.testing.assert_close(found.coefs, expected.coefs, rtol=0, atol=2e-5)
        torch.testing.assert_close(found.eta, expected.eta, rtol=0, atol=2e-5)


def test_a_network_that_rows_do_not_reproduce_is_run_as_it_is(caplog):
    checkpoint = checkpoint_of()
    layer = checkpoint.model.model.layers[0]
    layer.register_forward_hook(lambda module, inputs, output: output + 1)  # what only the backbone's own forward does
    assert Predictor(checkpoint).pads
    assert "qwen2 runs with padding" in caplog.text


def test_the_opening_is_what_all_prompts_begin_with(tiny_recipe):
    encoder = tiny_recipe.encoder()
    template = "{% for m in messages %}<user> {{ m['content'] }}</user>{% endfor %}"
    encoder.tokenizer.chat_template = template
    chat = PromptEncoder(encoder.tokenizer, PromptFormat(max_length=64))
    opening = chat.opening()
    assert chat.tokenizer.decode(opening) == "<user> "
    assert all(ids[: len(opening)] == opening for ids in chat.encode_batch(["hello", " ", "<user> ", ["a", "b"]]))


def test_without_a_template_nothing_is_in_common(tiny_recipe):
    assert tiny_recipe.encoder().opening() == []
