import pytest
import torch

from p2l.data.encoding import encode_prompts
from p2l.errors import PromptError
from p2l.models import Checkpoint
from p2l.models.predictor import predict, rank_encoded

PROMPTS = ["hi", "a longer prompt " * 5, ["one", "two"], "", "hi", "mid length", "法国的首都是哪里?"]


@pytest.mark.parametrize("token_budget", [1, 64, 200, 10_000])
def test_batches_change_neither_order_nor_rankings(token_budget: int, tiny_checkpoint: Checkpoint) -> None:
    together = predict(tiny_checkpoint, PROMPTS, token_budget=token_budget)
    assert together.coefs.shape == (7, 4) and together.eta.shape == (7,)
    assert together.coefs.dtype == torch.float32
    for i, prompt in enumerate(PROMPTS):
        alone = predict(tiny_checkpoint, [prompt])
        torch.testing.assert_close(together.coefs[i], alone.coefs[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.eta[i], alone.eta[0], rtol=0, atol=1e-5)
    assert (together.coefs[0] - together.coefs[1]).abs().max() > 0.01
    torch.testing.assert_close(together.coefs[0], together.coefs[4], rtol=0, atol=1e-5)


def test_no_prompt_no_ranking(tiny_checkpoint: Checkpoint) -> None:
    ranking = predict(tiny_checkpoint, [])
    assert (ranking.coefs.shape, ranking.eta.shape) == ((0, 4), (0,))


def test_every_part_is_left_in_the_mode_it_was_in(tiny_checkpoint: Checkpoint) -> None:
    model = tiny_checkpoint.model.train()
    model.model.eval()  # a frozen backbone
    rank_encoded(model, encode_prompts(tiny_checkpoint.encoder, ["hi"]))
    assert model.training and model.head.training and not model.model.training
    assert model.head(torch.zeros(1, 32)).coefs.requires_grad


def test_a_prompt_without_turns(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(PromptError, match="a prompt needs at least one user turn; got an empty list"):
        predict(tiny_checkpoint, ["fine", []])
