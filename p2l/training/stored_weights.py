"""Read the weights of a Lightning checkpoint one tensor at a time: a file, FSDP shards, or ZeRO shards."""

import contextlib
import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from p2l.errors import CheckpointError

# prefixes of the model's weights in the shards of FSDP2 and of FSDP
SHARD_PREFIXES = ("state_dict.model.", "model.model.")
MODULE_PREFIX = "model."  # of the P2LModel in the LightningModule


class StoredTensor(NamedTuple):
    """A tensor on disk; ``read`` loads it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def stored_weights(path: Path) -> dict[str, StoredTensor]:
    """Return the weights of the P2LModel in a Lightning checkpoint by name; raises CheckpointError if it is not one."""
    if path.is_file():
        found = _read_file(path)
    elif (path / ".metadata").exists():
        found = _read_shards(path)
    elif (path / "latest").exists():
        found = _read_zero(path)
    else:
        raise CheckpointError(
            f"{path} is not a checkpoint of a run: expected a .ckpt file, or a folder with its shards"
        )
    if not found:
        raise CheckpointError(f"{path} contains no weights of a P2L model")
    return found


def _read_file(path: Path) -> dict[str, StoredTensor]:
    try:
        # memory-mapped: pages are read with their tensor
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=False)["state_dict"]
    except (RuntimeError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a Lightning checkpoint: {str(error).splitlines()[0]}"
        ) from error
    return _model_weights(state)


def _read_shards(path: Path) -> dict[str, StoredTensor]:
    saved = dcp.FileSystemReader(path).read_metadata().state_dict_metadata

    def stored(key: str, what: TensorStorageMetadata) -> StoredTensor:
        def read() -> Tensor:
            tensor = torch.empty(what.size, dtype=what.properties.dtype)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
                dcp.load({key: tensor}, storage_reader=dcp.FileSystemReader(path), no_dist=True)
            return tensor

        return StoredTensor(tuple(what.size), what.properties.dtype, read)

    return {
        key.removeprefix(prefix): stored(key, what)
        for key, what in saved.items()
        for prefix in SHARD_PREFIXES
        if key.startswith(prefix) and isinstance(what, TensorStorageMetadata)
    }


def _read_zero(path: Path) -> dict[str, StoredTensor]:
    """Return float32 master weights: memory-mapped for stage 3, one copy in memory for stages 1 and 2."""
    try:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    except ImportError as error:
        raise CheckpointError(f"{path} was saved by DeepSpeed; reading it needs: pip install deepspeed") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        state = get_fp32_state_dict_from_zero_checkpoint(str(path), lazy_mode=True)
    return _model_weights(state)


def _model_weights(state: dict[str, Any]) -> dict[str, StoredTensor]:
    """Return the weights of the P2LModel in the state dict of a LightningModule."""
    return {
        name.removeprefix(MODULE_PREFIX): StoredTensor(tuple(tensor.shape), tensor.dtype, partial(_detached, tensor))
        for name, tensor in state.items()
        if name.startswith(MODULE_PREFIX)
    }


def _detached(tensor: Any) -> Tensor:
    """Return the tensor; ``contiguous`` also resolves DeepSpeed's lazy tensors."""
    whole: Tensor = tensor.contiguous()
    return whole.detach()
