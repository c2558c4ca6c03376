"""The learning rate of each part of the model."""

import math
from functools import partial

import pytest
import torch

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.training import OptimizerByPart

ADAMW = partial(torch.optim.AdamW, eps=1e-8)


@pytest.fixture
def model(tiny_recipe):
    return tiny_recipe.build(tiny_recipe.encoder(), partial(RankingHead, family="grk"), ["a", "b", "c"])


def groups_by_name(recipe, model):
    return {group["name"]: group for group in recipe.build(model).param_groups}


def test_one_rate_for_all_by_default(model):
    groups = groups_by_name(OptimizerByPart(ADAMW, lr=0.1), model)
    assert groups.keys() == {"head", "backbone"}
    assert all(group["lr"] == 0.1 and group["weight_decay"] == 0 for group in groups.values())


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_parameter_is_in_one_group(model, layer_decay, weight_decay):
    optimizer = OptimizerByPart(ADAMW, layer_decay=layer_decay, weight_decay=weight_decay).build(model)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_rates_fall_with_the_distance_from_the_head(model):
    groups = groups_by_name(OptimizerByPart(ADAMW, lr=1.0, head_lr=7.0, layer_decay=0.5), model)
    rates = {name: group["lr"] for name, group in groups.items()}
    assert rates == {"head": 7.0, "layer2": 1.0, "layer1": 0.5, "embeddings": 0.25}


def test_only_matrices_decay(model):
    groups = groups_by_name(OptimizerByPart(ADAMW, weight_decay=0.1, head_weight_decay=0.3), model)
    for name, group in groups.items():
        vectors = name.endswith("no decay")
        assert all((p.ndim < 2) == vectors for p in group["params"])
        expected = 0.0 if vectors else 0.3 if name == "head" else 0.1
        assert group["weight_decay"] == expected


def test_frozen_parameters_are_left_out(model):
    model.model.requires_grad_(False)
    assert groups_by_name(OptimizerByPart(ADAMW), model).keys() == {"head"}


def test_nothing_to_train(model):
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        OptimizerByPart(ADAMW).build(model)


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", -1e-4), ("lr", math.nan), ("head_lr", math.inf), ("weight_decay", -0.1), ("layer_decay", 0.0)],
)
def test_rates_are_checked_when_they_are_given(option, value):
    with pytest.raises(ConfigError, match=rf"optimizer.{option} must be a finite number"):
        OptimizerByPart(torch.optim.AdamW, **{option: value})
