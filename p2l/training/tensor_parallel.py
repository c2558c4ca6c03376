"""Tensor parallelism: split the layers of a backbone over ranks by the plan in its configuration."""

import re
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, distribute_module
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from transformers import PreTrainedModel

from p2l.errors import ConfigError
from p2l.models import P2LModel
from p2l.models.blocks import transformer_blocks

# style names of a plan -> torch's styles. A norm over each head runs on the heads of a rank; heads are normalised
# separately, so the sharded dimension does not matter
STYLES: dict[str, ParallelStyle] = {
    "colwise": ColwiseParallel(),
    "colwise_gather_output": ColwiseParallel(output_layouts=Replicate()),
    "rowwise": RowwiseParallel(),
    "replicated_with_grad_allreduce": SequenceParallel(sequence_dim=2, use_local_output=True),
}


class Replicated(ParallelStyle):
    """Keeps the same weights, input and output on every rank, so that all parameters of a model lie on one mesh."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        # torch annotates these functions as returning None but uses their results
        return distribute_module(module, device_mesh, None, _replicate_inputs, _local_output)  # type: ignore[arg-type]


def split_layers(model: P2LModel, mesh: DeviceMesh) -> None:
    """Split the layers in the plan of the backbone over the one-dimensional ``mesh``; in place.

    All other layers, including the head, are replicated. Raises ConfigError if there is no plan or it does not fit.
    """
    plan = _plan(model.model, mesh.size())
    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            parallelize_module(module, mesh, plan.get(name.removeprefix("model."), Replicated()))


def _plan(backbone: PreTrainedModel, num_ranks: int) -> dict[str, ParallelStyle]:
    """Return the style of each split layer, by its name in the backbone."""
    patterns: dict[str, str] = getattr(backbone.config, "base_model_tp_plan", None) or {}
    kind, advice = backbone.config.model_type, "set trainer.strategy.tensor_parallel_size=1"
    if not patterns:
        raise ConfigError(f"transformers has no tensor-parallel plan for {kind}; {advice}")
    if unknown := sorted(set(patterns.values()) - set(STYLES)):
        raise ConfigError(
            f"the tensor-parallel plan of {kind} needs {', '.join(unknown)}, which is not supported; {advice}"
        )
    if any(block._compiled_call_impl is not None for block in transformer_blocks(backbone)):
        # torch 2.13 recurses infinitely when it traces split layers of dynamic length
        raise ConfigError(f"compiled blocks cannot be split over ranks; {advice}, or model.compile=null")
    heads = getattr(backbone.config, "num_key_value_heads", None) or backbone.config.num_attention_heads
    if heads % num_ranks:
        raise ConfigError(f"the {heads} key-value heads of this {kind} do not divide by {num_ranks} ranks; {advice}")
    rules = [(re.compile(pattern.replace(".", r"\.").replace("*", r"\d+")), kind) for pattern, kind in patterns.items()]
    plan = {
        name: STYLES[style]
        for name, _ in backbone.named_modules()
        for pattern, style in rules
        if pattern.fullmatch(name)
    }
    changed = [name for name in plan if next(backbone.get_submodule(name).children(), None) is not None]
    if not plan or changed:
        raise ConfigError(f"adapters cannot be split over ranks; {advice}, or lora=null")
    return plan


def _replicate_inputs(module: nn.Module, inputs: tuple[Any, ...], mesh: DeviceMesh) -> tuple[Any, ...]:
    return tuple(
        DTensor.from_local(x, mesh, (Replicate(),), run_check=False) if isinstance(x, Tensor) else x for x in inputs
    )


def _local_output(module: nn.Module, output: DTensor, mesh: DeviceMesh) -> Tensor:
    return output.to_local()
