"""FSDP2: shard the parameters of a model over the ranks, block by block; with tensor parallelism within a group."""

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
    """Lightning's ModelParallelStrategy over all processes, with the precision in which blocks compute.

    Each group of ``tensor_parallel_size`` consecutive ranks splits the layers among them and works on the same votes;
    the groups share out the votes, and the shards of all.

    The shards stay as they are (float32 under ``precision=32-true``), so that small updates are not rounded away.

    Args:
        compute_dtype: None computes in the dtype of the shards.
        save_distributed_checkpoint: each rank writes its shards to a folder, which no rank ever holds whole; else rank
            0 gathers all in one file, which any strategy reads. Either goes on with any number of ranks.
        tensor_parallel_size: must divide the devices, and should not exceed those of a node: every layer exchanges its
            activations within a group.
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
        """Groups of ranks that work on different votes; ConfigError where the devices do not make whole groups."""
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
    """Shares into which the votes of a step are cut: one for each rank, or each tensor-parallel group of them."""
    strategy = trainer.strategy
    return strategy.data_parallel_size if isinstance(strategy, FSDP2Strategy) else trainer.world_size


def shard(model: P2LModel, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    """Split layers over tensor-parallel ranks, then ``fully_shard`` every transformer block and the whole; in place.

    A block is gathered only while it runs.
    """
    data_parallel, tensor_parallel = mesh["data_parallel"], mesh["tensor_parallel"]
    if tensor_parallel.size() > 1:
        split_layers(model, tensor_parallel)
    for block in transformer_blocks(model.model):
        fully_shard(block, mesh=data_parallel, mp_policy=policy)
    fully_shard(model, mesh=data_parallel, mp_policy=policy)
