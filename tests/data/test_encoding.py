import numpy as np
import pytest

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.prompt_encoder import PromptEncoder
from p2l.models import ModelRecipe

PROMPTS = ["a", ["two", "turns"], "", "a somewhat longer prompt"]


@pytest.fixture(scope="module")
def encoder(tiny_recipe: ModelRecipe) -> PromptEncoder:
    return tiny_recipe.encoder()


@pytest.fixture(scope="module")
def encoded(encoder: PromptEncoder) -> EncodedPrompts:
    return encode_prompts(encoder, PROMPTS)


def test_each_prompt_comes_back_as_it_was_encoded(encoder: PromptEncoder, encoded: EncodedPrompts) -> None:
    assert [encoded[i].tolist() for i in range(len(encoded))] == encoder.encode_batch(PROMPTS)
    assert encoded.lengths.tolist() == [len(ids) for ids in encoder.encode_batch(PROMPTS)]


def test_padding_is_on_the_right_and_masked(encoder: PromptEncoder, encoded: EncodedPrompts) -> None:
    batch = encoded.pad([2, 1])
    assert batch.prompt_index.tolist() == [2, 1]
    assert batch.input_ids.shape == batch.attention_mask.shape == (2, encoded.lengths[1])
    assert batch.attention_mask.sum(1).tolist() == encoded.lengths[[2, 1]].tolist()
    assert batch.input_ids[0].tolist() == [encoder.cls_token_id] + [encoder.pad_token_id] * (encoded.lengths[1] - 1)
    assert batch.input_ids[1].tolist() == encoder.encode(PROMPTS[1])


def test_more_prompts_than_a_chunk_keep_their_order(encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2l.data.encoding.CHUNK", 3)
    texts = [str(i) for i in range(10)]
    encoded = encode_prompts(encoder, texts, progress=False)
    assert [encoded[i].tolist() for i in range(10)] == encoder.encode_batch(texts)


def test_no_prompts_at_all(encoder: PromptEncoder) -> None:
    encoded = encode_prompts(encoder, [])
    assert len(encoded) == 0 and encoded.ids.size == 0
    assert np.array_equal(encoded.offsets, [0])
