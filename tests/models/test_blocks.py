"""Compiled blocks compute what they did, under names that stay."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from p2l.heads import RankingHead
from p2l.models import ModelRecipe
from p2l.models.blocks import transformer_blocks

MODELS = ("alpha", "beta")


def loss_and_gradients(recipe: ModelRecipe) -> tuple[float, dict[str, torch.Tensor]]:
    encoder = recipe.encoder()
    model = recipe.build(encoder, partial(RankingHead, family="grk"), MODELS)
    loss = torch.zeros(())
    for prompt in ("hello", "hello there", "a longer prompt, and once more"):
        ids = torch.tensor([encoder.encode(prompt)])
        loss = loss + model(ids, torch.ones_like(ids)).coefs.square().sum()
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


# torch.compile looks at every tensor's gradient
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor")
@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"packed": True}], ids=str)
def test_loss_and_gradients_are_those_of_the_model_as_it_is(tiny_recipe: ModelRecipe, changes: dict) -> None:
    expected, gradients = loss_and_gradients(tiny_recipe)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found, compiled = loss_and_gradients(replace(tiny_recipe, compile="aot_eager", **changes))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1  # else nothing was compiled
    assert found == pytest.approx(expected, rel=1e-5)
    assert compiled.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_blocks_are_the_longest_list(tiny_recipe: ModelRecipe) -> None:
    model = tiny_recipe.build(tiny_recipe.encoder(), partial(RankingHead, family="grk"), MODELS)
    assert transformer_blocks(model.model) == list(model.model.layers)
    assert transformer_blocks(torch.nn.Linear(1, 1)) == []
