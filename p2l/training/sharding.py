"""FSDP2: shard the parameters of a model over ranks, block by block, with tensor parallelism within groups."""

from typing import Literal

import torch
from lightning import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from p2l.errors import ConfigError
from p2l.models import P2LModel
from p2l.models.blocks import transformer_blocks
from p2l.training.tensor_parallel import split_layers


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's ModelParallelStrategy over all processes, with a compute precision for blocks.

    Each group of ``tensor_parallel_size`` consecutive ranks splits the layers and works on the same votes. Groups work
    on different votes and hold different shards. Shards keep their dtype (float32 under ``precision=32-true``), so that
    small updates are not rounded away.

    Args:
        compute_dtype: dtype of computation; None uses the dtype of the shards.
        save_distributed_checkpoint: if true, each rank writes its shards to a folder, and no rank gathers the whole;
            otherwise rank 0 gathers one file that any strategy reads. Both resume with any number of ranks.
        tensor_parallel_size: must divide the number of devices and should not exceed the devices of a node, since every
            layer exchanges activations within a group.
    """

    def __init__(
        self,
        compute_dtype: Literal["bfloat16", "float16"] | None = None,
        save_distributed_checkpoint: bool = False,
        tensor_parallel_size: int = 1,
    ) -> None:
        super().__init__(
            tensor_parallel_size=tensor_parallel_size, save_distributed_checkpoint=save_distributed_checkpoint
        )
        self.tensor_parallel_size = tensor_parallel_size
        self.policy = MixedPrecisionPolicy(
            param_dtype=getattr(torch, compute_dtype) if compute_dtype else None, reduce_dtype=torch.float32
        )

    @property
    def data_parallel_size(self) -> int:
        """Number of groups that work on different votes; raises ConfigError if groups would not be whole."""
        devices = self.num_nodes * self.num_processes
        if self.tensor_parallel_size < 1 or devices % self.tensor_parallel_size:
            raise ConfigError(
                f"trainer.strategy.tensor_parallel_size must divide the number of devices, {devices}; "
                f"got {self.tensor_parallel_size}"
            )
        return devices // self.tensor_parallel_size

    def setup_environment(self) -> None:
        self._data_parallel_size = self.data_parallel_size
        super().setup_environment()


def data_parallel_size(trainer: Trainer) -> int:
    """Return the number of data-parallel shares of a step: the ranks, or the tensor-parallel groups."""
    strategy = trainer.strategy
    return strategy.data_parallel_size if isinstance(strategy, FSDP2Strategy) else trainer.world_size


def shard(model: P2LModel, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    """Split layers over tensor-parallel ranks, then ``fully_shard`` each transformer block and the model; in place.

    A block is gathered only while it runs.
    """
    data_parallel, tensor_parallel = mesh["data_parallel"], mesh["tensor_parallel"]
    if tensor_parallel.size() > 1:
        split_layers(model, tensor_parallel)
    for block in transformer_blocks(model.model):
        fully_shard(block, mesh=data_parallel, mp_policy=policy)
    fully_shard(model, mesh=data_parallel, mp_policy=policy)
