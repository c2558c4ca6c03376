"""Optimizers: any torch optimizer class, with a learning rate for each part of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from p2l.errors import ConfigError
from p2l.models import P2LModel
from p2l.models.blocks import transformer_blocks
from p2l.options import check_number


@dataclass(frozen=True)
class OptimizerByPart:
    """A recipe of an optimizer with separate learning rates for head and layers.

    Attributes:
        factory: builds the optimizer from parameter groups, for example ``torch.optim.AdamW`` with its betas set.
        lr: learning rate of the backbone.
        head_lr: learning rate of the head; None for ``lr``.
        layer_decay: the rate of layer l (0 = embeddings, L = last) is ``lr * layer_decay ** (L - l)``.
        weight_decay: weight decay of the backbone's matrices; biases and norms have none.
        head_weight_decay: weight decay of the head's matrices; None for ``weight_decay``.
    """

    factory: Callable[..., Optimizer]
    lr: float = 4e-6
    head_lr: float | None = None
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    head_weight_decay: float | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "head_lr", "weight_decay", "head_weight_decay"):
            if getattr(self, name) is not None:
                check_number(f"optimizer.{name}", getattr(self, name), least=0)
        check_number("optimizer.layer_decay", self.layer_decay, above=0)
        for name, value in getattr(self.factory, "keywords", {}).items():  # of a partial
            for number in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(number, float):
                    check_number(f"optimizer.factory.{name}", number, least=0)

    def build(self, model: P2LModel) -> Optimizer:
        """Return the optimizer over the trainable parameters of ``model``; raises ConfigError if there are none."""
        groups = [group for group in self.parameter_groups(model) if group["params"]]
        if not groups:
            raise ConfigError("nothing to train: every parameter is frozen")
        try:
            return self.factory(groups, lr=self.lr)
        except (TypeError, ValueError, IndexError) as error:
            given = ", ".join(f"{name}={value!r}" for name, value in getattr(self.factory, "keywords", {}).items())
            raise ConfigError(f"optimizer.factory: {error}; given: {given or 'no options'}") from error

    def parameter_groups(self, model: P2LModel) -> list[dict[str, Any]]:
        """Return a parameter group for each rate and decay; ``name`` is the part of the model."""
        head_lr = self.lr if self.head_lr is None else self.head_lr
        head_decay = self.weight_decay if self.head_weight_decay is None else self.head_weight_decay
        groups = _split(model.head, "head", head_lr, head_decay)
        if self.layer_decay == 1.0:
            return groups + _split(model.model, "backbone", self.lr, self.weight_decay)
        blocks = transformer_blocks(model.model)
        inside = {id(p) for block in blocks for p in block.parameters()}
        for depth, block in enumerate(blocks, start=1):
            rate = self.lr * self.layer_decay ** (len(blocks) - depth)
            groups += _split(block, f"layer{depth}", rate, self.weight_decay)
        outside = nn.ParameterList(p for p in model.model.parameters() if id(p) not in inside)
        return groups + _split(outside, "embeddings", self.lr * self.layer_decay ** len(blocks), self.weight_decay)


def _split(module: nn.Module, name: str, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    vectors = [p for p in trained if p.ndim < 2]
    if not weight_decay:
        return [{"params": trained, "lr": lr, "weight_decay": 0.0, "name": name}]
    return [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay, "name": name},
        {"params": vectors, "lr": lr, "weight_decay": 0.0, "name": f"{name}, no decay"},
    ]
