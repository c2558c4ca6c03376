"""FSDP2: shard the parameters of a model over the ranks, block by block."""

from typing import Literal

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from p2l.models import P2LModel


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's ModelParallelStrategy over all processes, with the precision in which blocks compute.

    The shards stay as they are (float32 under ``precision=32-true``), so that small updates are not rounded away.
    ``compute_dtype`` None computes in the dtype of the shards.
    """

    def __init__(self, compute_dtype: Literal["bfloat16", "float16"] | None = None) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)
        self.policy = MixedPrecisionPolicy(
            param_dtype=getattr(torch, compute_dtype) if compute_dtype else None, reduce_dtype=torch.float32
        )

    def setup_environment(self) -> None:
        # Lightning would take the number of nodes, and split each layer over the processes of a node
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(model: P2LModel, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    """Apply ``fully_shard`` to every transformer block and then to the whole, in place.

    Blocks are the members of the backbone's longest ModuleList; each is gathered only while it runs.
    """
    data_parallel = mesh["data_parallel"]
    for block in transformer_blocks(model.model):
        fully_shard(block, mesh=data_parallel, mp_policy=policy)
    fully_shard(model, mesh=data_parallel, mp_policy=policy)


def transformer_blocks(backbone: nn.Module) -> list[nn.Module]:
    """The layers of a backbone, in order; none if it has no list of layers."""
    lists = [list(module) for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
