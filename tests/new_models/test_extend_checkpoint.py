from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from p2l.heads import RankingHead
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.new_models.extend_checkpoint import extend_checkpoint, head_layers
from p2l.outcomes import FAMILIES

PROMPTS = ["hello", "what is 1+1?", "a longer prompt about something else"]


def low_rank_or_full(recipe, family: str, rank: int | None, eta_from: str = "hidden") -> Checkpoint:
    encoder, models = recipe.encoder(), ("alpha", "beta", "delta", "gamma")
    head = partial(RankingHead, family=family, rank=rank, eta_from=eta_from)
    model = recipe.build(encoder, head, models)
    return Checkpoint(model.eval(), encoder, models, {"loss_type": family, "metrics": {"val/log_loss": 1.0}})


@pytest.mark.parametrize(
    ("family", "rank", "eta_from"),
    [(name, rank, "hidden") for name in FAMILIES for rank in (None, 2)]
    + [(name, 2, "bottleneck") for name, family in FAMILIES.items() if family.num_eta],
)
def test_old_rows_stay_and_new_ones_follow(tiny_recipe, tmp_path, family, rank, eta_from):
    checkpoint = low_rank_or_full(tiny_recipe, family, rank, eta_from)
    features = rank or 32
    weight, bias = np.random.default_rng(0).normal(size=(2, features)), np.array([3.0, -3.0])
    larger = extend_checkpoint(checkpoint, ["omega", "abel"], weight, bias)
    assert larger.models == ("alpha", "beta", "delta", "gamma", "omega", "abel")
    before, after = predict(checkpoint, PROMPTS), predict(larger, PROMPTS)
    torch.testing.assert_close(after.coefs[:, :4], before.coefs, rtol=0, atol=1e-6)
    if before.eta is not None:
        assert torch.equal(after.eta, before.eta)
    rows = head_layers(larger.model.head)[1]
    assert torch.equal(rows.weight[:4], head_layers(checkpoint.model.head)[1].weight)
    np.testing.assert_allclose(rows.weight[4:].detach(), weight, rtol=1e-6)
    save_checkpoint(tmp_path / "larger", larger)
    read = load_checkpoint(str(tmp_path / "larger"))
    assert read.models == larger.models
    torch.testing.assert_close(predict(read, PROMPTS).coefs, after.coefs)


def test_a_row_fitted_anew_keeps_its_place(tiny_checkpoint):
    larger = extend_checkpoint(tiny_checkpoint, ["beta"], np.ones((1, 32)), np.array([7.0]))
    assert larger.models == tiny_checkpoint.models
    before, after = (head_layers(c.model.head)[1] for c in (tiny_checkpoint, larger))
    assert after.bias[1] == 7.0 and (after.weight[1] == 1).all()
    kept = [0, 2, 3]
    assert torch.equal(after.weight[kept], before.weight[kept])
    assert not (before.weight[1] == 1).any()  # the old checkpoint is as it was


def test_the_recipe_says_what_was_added(tiny_checkpoint):
    recipe = {"loss_type": "grk", "metrics": {"val/log_loss": 1.0}, "linear_head_downsize_factor": 2.0}
    checkpoint = replace(tiny_checkpoint, recipe=recipe)
    once = extend_checkpoint(checkpoint, ["omega"], np.ones((1, 32)), np.zeros(1))
    twice = extend_checkpoint(once, ["omega", "psi"], np.ones((2, 32)), np.zeros(2))
    assert twice.recipe["added_models"] == ["omega", "psi"]
    assert (twice.recipe["metrics"], twice.recipe["metrics_before"]) == ({}, {"val/log_loss": 1.0})
    assert checkpoint.recipe == recipe
