"""Stop a run at the first loss, gradient or weight that is not finite, on all ranks together."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from p2l.errors import DivergedError
from p2l.models.finite_weights import not_finite
from p2l.training.marginal_verdict import TRY as ADVICE

OVERFLOW = "the gradients overflow float16 at every scale; try trainer.precision=bf16-mixed"


def check_step(trainer: Trainer, model: nn.Module, loss: Tensor) -> None:
    """Raise DivergedError before an optimizer step if its loss or a gradient is not finite; the weights still are.

    Call it on all ranks. Under a float16 loss scale infinite gradients are expected: the step is left out and the scale
    halved, so they are an error only when no scale is left.
    """
    step = trainer.global_step + 1
    if any_rank(trainer, not bool(loss.isfinite())):
        raise DivergedError(f"the loss of step {step} is {float(loss)}: training diverged; {ADVICE}")
    scale = _loss_scale(trainer)
    if scale is not None and scale > 1:
        return
    wrong = not_finite((name, tensor) for name, tensor in _gradients(model))
    if any_rank(trainer, wrong is not None):
        where = f": {wrong}" if wrong else " on another rank"
        raise DivergedError(f"a gradient of step {step} is not finite{where}; {ADVICE if scale is None else OVERFLOW}")


def check_weights_after(trainer: Trainer, model: nn.Module, when: str) -> None:
    """Raise DivergedError if a weight of ``model`` is not finite; call it on all ranks."""
    wrong = not_finite(local_weights(model))
    if any_rank(trainer, wrong is not None):
        where = f": {wrong}" if wrong else " on another rank"
        raise DivergedError(f"a weight is not finite {when}{where}; {ADVICE}")


def local_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of a model by name; of sharded ones the shard of this rank."""
    for name, parameter in model.named_parameters():
        yield name, _local(getattr(parameter, "ds_tensor", parameter)).detach()


def any_rank(trainer: Trainer, found: bool) -> bool:
    """Return whether ``found`` is true on any rank."""
    if trainer.world_size == 1:
        return found
    flag = torch.tensor(float(found), device=trainer.strategy.root_device)
    total = trainer.strategy.reduce(flag, reduce_op="sum")
    return bool(total > 0)


def _gradients(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            yield f"the gradient of {name}", _local(parameter.grad)


def _local(tensor: Any) -> Tensor:
    local: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local


def _loss_scale(trainer: Trainer) -> float | None:
    """Return the scale of the loss under float16; None if losses are not scaled."""
    plugin = trainer.precision_plugin
    scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
    return None if scaler is None else float(scaler.get_scale())
