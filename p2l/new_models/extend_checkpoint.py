"""Extend a checkpoint by rows of the head for new models."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from p2l.heads import RankingHead
from p2l.models import Checkpoint, P2LModel

log = logging.getLogger(__name__)


def head_layers(head: RankingHead) -> tuple[nn.Module, nn.Linear]:
    """Return the bottleneck of a low-rank head (else the identity), and the layer with a row for each model."""
    first, last = head.head if isinstance(head.head, nn.Sequential) else (nn.Identity(), head.head)
    assert isinstance(last, nn.Linear)
    return first, last


def extend_checkpoint(
    checkpoint: Checkpoint,
    models: Sequence[str],
    weight: Float64[np.ndarray, "models features"],
    bias: Float64[np.ndarray, " models"],
) -> Checkpoint:
    """Return the checkpoint with these rows: rows of known models are replaced, the others appended in order.

    Every other weight is the same tensor as before. The recipe names the new rows under ``added_models``, and moves its
    metrics, which do not cover the new list, to ``metrics_before``.
    """
    names = (*checkpoint.models, *(name for name in models if name not in checkpoint.models))
    head = _extended_head(checkpoint.model.head, [names.index(name) for name in models], len(names), weight, bias)
    old = checkpoint.model
    model = P2LModel(old.model, head, old.readout, old.cls_token_id)
    return replace(checkpoint, model=model.eval(), models=names, recipe=_recipe(checkpoint.recipe, models, head))


@torch.no_grad()
def _extended_head(
    old: RankingHead, positions: list[int], num_models: int, weight: np.ndarray, bias: np.ndarray
) -> RankingHead:
    first, last = head_layers(old)
    hidden_size = first.in_features if isinstance(first, nn.Linear) else last.in_features
    new = RankingHead(hidden_size, num_models, old.family, rank=old.rank, eta_from=old.eta_from)
    new.to(last.weight)
    rows = head_layers(new)[1]
    state = old.state_dict()
    for layer, name, values in ((rows.weight, "weight", weight), (rows.bias, "bias", bias)):
        layer[: old.num_models] = getattr(last, name)
        layer[positions] = torch.from_numpy(values).to(layer)
        state[f"{'head.1' if old.rank else 'head'}.{name}"] = layer.clone()
    new.load_state_dict(state)
    new.cost_head = old.cost_head and old.cost_head.widened(num_models)
    if old.posterior_head is not None:
        log.warning("the intervals are of the old models, and are left out: p2l posterior adds new ones")
    return new


def _recipe(recipe: dict[str, Any], models: Sequence[str], head: RankingHead) -> dict[str, Any]:
    added = [*recipe.get("added_models", []), *models]
    changed: dict[str, Any] = {"added_models": list(dict.fromkeys(added))}
    if recipe.get("metrics"):
        changed |= {"metrics": {}, "metrics_before": recipe["metrics"]}
    if recipe.get("linear_head_downsize_factor"):
        changed["linear_head_downsize_factor"] = head.num_models / (head.rank or head.num_models)
    return {name: value for name, value in recipe.items() if name != "posterior"} | changed
