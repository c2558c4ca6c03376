"""Encoders without padding give the states that the backbone gives."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe, P2LModel, prepare_backbone
from p2l.models.packed import row_of
from p2l.models.predictor import Predictor, predict, rank_encoded
from p2l.models.prompt_states import SAME_STATE
from p2l.models.row_attention import ENCODERS as SUPPORTED
from p2l.models.row_attention import can_attend_within, runs_of
from p2l.models.row_encoder import RowEncoder
from tests.running import ENCODER_SIZES, ENCODERS

CLS = 49
PLAIN = [[CLS, 3, 1, 4, 1, 5, 9, 2], [CLS, 3, 1], [CLS], [CLS, 3, 4], [CLS, *range(2, 30)], [CLS], [CLS, *[7] * 66]]
PROMPTS = [np.array(ids) for ids in PLAIN]


def network_of(kind: str, readout: str = "mean", **sizes: object) -> P2LModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**ENCODER_SIZES, **ENCODERS[kind], **sizes})
    backbone = prepare_backbone(AutoModel.from_config(config))
    for name, parameter in backbone.named_parameters():
        if "norm" in name.lower() or name.endswith("bias"):  # else ones and zeros, which hide mistakes
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name.lower() else 0.0, 0.3)
    return P2LModel(backbone, RankingHead(16, 5, "grk"), readout, CLS).eval()


@torch.inference_mode()
def states(network: P2LModel, prompts: list[np.ndarray] = PROMPTS) -> torch.Tensor:
    """The states of prompts one by one, as transformers computes them."""
    alone = [torch.from_numpy(ids)[None] for ids in prompts]
    return torch.cat([network.hidden(ids, torch.ones_like(ids)) for ids in alone])


def test_every_supported_encoder_is_tested() -> None:
    assert {type(network_of(kind).model).__name__ for kind in ENCODERS} == SUPPORTED


@pytest.mark.parametrize("readout", ["cls", "mean"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_states_are_those_of_the_backbone(kind: str, readout: str) -> None:
    network = network_of(kind, readout)
    expected = states(network)
    assert can_attend_within(network.model)
    rows = RowEncoder(network)
    torch.testing.assert_close(rows(PROMPTS), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(rows(PROMPTS[2:3]), expected[2:3], rtol=0, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-2  # they differ, or equality would say nothing


@pytest.mark.parametrize("kind", ENCODERS)
def test_batches_with_padding_are_computed_as_before(kind: str) -> None:
    network = network_of(kind)
    width = max(map(len, PROMPTS))
    pad_id = network.model.config.pad_token_id
    ids = torch.from_numpy(np.stack([np.pad(p, (0, width - len(p)), constant_values=pad_id) for p in PROMPTS]))
    mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in PROMPTS])
    with torch.inference_mode():
        before = network.hidden(ids, mask)
        RowEncoder(network)
        assert torch.equal(network.hidden(ids, mask), before)


def test_a_window_of_modernbert_hides_distant_tokens() -> None:
    prompt = np.array([CLS, *range(2, 42)])
    narrow, wide = network_of("modernbert"), network_of("modernbert", local_attention=128)
    assert (states(narrow, [prompt]) - states(wide, [prompt])).abs().max() > 1e-2
    for network in (narrow, wide):
        expected = states(network, [prompt])
        torch.testing.assert_close(RowEncoder(network)([prompt]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_bfloat16_states_stay_near_those_of_float32(kind: str) -> None:
    exact, network = states(network_of(kind)), network_of(kind).to(torch.bfloat16)
    found = RowEncoder(network)(PROMPTS)
    assert found.dtype == torch.bfloat16
    assert ((found - exact).norm(dim=1) / exact.norm(dim=1)).max() < SAME_STATE


def test_threads_share_it() -> None:
    rows = RowEncoder(network_of("bert"))
    whole = rows(PROMPTS)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(rows, [PROMPTS[i % 7 :] for i in range(40)]))
    assert all((part - whole[i % 7 :]).abs().max() < 1e-5 for i, part in enumerate(found))


def test_encoders_of_another_kind_are_left_alone() -> None:
    assert not can_attend_within(network_of("bert", is_decoder=True).model)
    assert not can_attend_within(AutoModel.from_config(AutoConfig.for_model("mpnet", **ENCODER_SIZES)))
    eager = AutoModel.from_config(AutoConfig.for_model("bert", **ENCODER_SIZES), attn_implementation="eager")
    assert not can_attend_within(eager)


def test_the_layout_of_a_row() -> None:
    row = row_of([np.array(ids, dtype=np.int32) for ids in ([5, 6], [7], [8], [9, 9])], filler=3)
    assert row.input_ids.tolist() == [[5, 6, 7, 8, 9, 9, 0, 0, 0]]
    assert row.position_ids.tolist() == [[0, 1, 0, 0, 0, 1, 0, 0, 0]]
    assert row.bounds.tolist() == [0, 2, 3, 4, 6, 9]
    assert row.prompt.tolist() == [0, 0, 1, 2, 3, 3, 4, 4, 4]
    assert runs_of([2, 1, 1, 2, 3]) == [(0, 1, 2), (2, 2, 1), (4, 1, 2), (6, 1, 3)]


def checkpoint_of(kind: str, **options: object) -> Checkpoint:
    sizes = {key: value for key, value in ENCODER_SIZES.items() if key != "vocab_size"}
    recipe = ModelRecipe(
        scratch={"model_type": kind, **sizes, **ENCODERS[kind]}, max_length=64, cls_position="start", **options
    )
    encoder, models = recipe.encoder(), ("a", "b", "c")
    return Checkpoint(recipe.build(encoder, partial(RankingHead, family="grk"), models).eval(), encoder, models)


TEXTS = ["hi", "a longer prompt " * 3, ["one", "two"], "", "中", "truncated " * 40, "hi"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "modernbert", "roberta"])
def test_a_predictor_ranks_as_the_network_does(kind: str, dtype: str) -> None:
    checkpoint = checkpoint_of(kind, dtype=dtype, readout="mean" if kind == "bert" else "cls")
    expected = predict(checkpoint, TEXTS)
    alone = [rank_encoded(checkpoint.model, Predictor(checkpoint).encode([text])).coefs[0] for text in TEXTS]
    predictor = Predictor(checkpoint)
    assert not predictor.pads
    found, limit = predictor.rank(TEXTS), 1e-5 if dtype == "float32" else 0.05
    torch.testing.assert_close(found.coefs, torch.stack(alone), rtol=0, atol=limit)
    torch.testing.assert_close(found.coefs, expected.coefs, rtol=0, atol=limit)
    torch.testing.assert_close(found.eta, expected.eta, rtol=0, atol=limit)


def test_a_network_that_rows_do_not_reproduce_is_run_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = checkpoint_of("bert")
    checkpoint.model.model.register_forward_hook(_one_more_in_rows, with_kwargs=True)
    assert Predictor(checkpoint).pads
    assert "bert runs with padding" in caplog.text


def _one_more_in_rows(module: object, arguments: tuple, options: dict, output: object) -> None:
    """A backbone that computes rows otherwise than batches."""
    if "runs" in options:
        output.last_hidden_state = output.last_hidden_state + 1
