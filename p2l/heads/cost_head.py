"""The head of expected costs, beside the coefficients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from p2l.cost_facts import CostFacts


class CostWeights(NamedTuple):
    """The numbers of a cost head, one row for each model; NaN for a model without a prediction.

    Attributes:
        weight, bias: of log cost.
        factor: E[cost] / exp(E[log cost]), which makes the mean of the predictions that of the costs.
        low, high: least and highest cost that was measured; predictions stay between them.
        mean, bound: as in ``CostFacts``.
    """

    weight: Float32[np.ndarray, "models hidden"]
    bias: Float32[np.ndarray, " models"]
    factor: Float32[np.ndarray, " models"]
    low: Float32[np.ndarray, " models"]
    high: Float32[np.ndarray, " models"]
    mean: Float32[np.ndarray, " models"]
    bound: Float32[np.ndarray, " models"]

    @property
    def known(self) -> np.ndarray:
        """Which models have a prediction."""
        return np.isfinite(self.bias)


class CostHead(nn.Module):
    """Map the hidden state of a prompt to the expected cost of each model's answer to it.

    cost = exp(W h + b) factor, kept within [low, high]: positive and finite for every finite hidden state. Its numbers
    are buffers outside the state dict, so that checkpoints keep the published keys; ``p2l.models.cost_file`` stores
    them. ``p2l.evaluation.cost_fit`` fits them.

    Args:
        weights: one row for each model of the ranking head, in its order.
        unit: of the costs.
        report: how far the predictions are from costs that were not fitted (``p2l.evaluation.cost_report``).
    """

    weight: Tensor
    bias: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, weights: CostWeights, unit: str, report: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.weights, self.unit, self.report = weights, unit, report or {}
        log_factor, low, high = (np.log(x) for x in (weights.factor, weights.low, weights.high))
        rows = {"weight": weights.weight, "bias": weights.bias + log_factor, "low": low, "high": high}
        for name, values in rows.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch models"]:
        """Return the expected costs in float32; NaN for a model without a prediction."""
        log_cost = nn.functional.linear(hidden.float(), self.weight.float(), self.bias.float())
        return log_cost.clamp(self.low.float(), self.high.float()).exp()

    def facts(self, models: Sequence[str]) -> CostFacts:
        """Return what is known about the costs of these models, which are those of the ranking head."""
        numbers = zip(models, self.weights.mean.tolist(), self.weights.bound.tolist(), strict=True)
        known = [(model, mean, bound) for (model, mean, bound), has in zip(numbers, self.weights.known) if has]
        return CostFacts(self.unit, {m: mean for m, mean, _ in known}, {m: bound for m, _, bound in known})

    def widened(self, num_models: int) -> "CostHead":
        """Return the head of a longer list of models, without predictions for those at its end."""
        more = num_models - len(self.weights.bias)
        padded = (np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1), constant_values=np.nan) for x in self.weights)
        return CostHead(CostWeights(*padded), self.unit, self.report)
