"""Find weights that are NaN or infinite, so that no such network is written, read or served."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from p2l.errors import CheckpointError

ADVICE = "its training diverged, or its numbers overflow this dtype; take an earlier checkpoint, or dtype=float32"


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Describe the first tensor with NaN or infinite numbers: its name and their count; None if there is none."""
    for name, tensor in tensors:
        if not is_finite(tensor):
            wrong = int((~tensor.float().isfinite()).sum())
            return f"{name} has {wrong:,} of {tensor.numel():,} numbers that are NaN or infinite"
    return None


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers are finite; integers always are."""
    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
        return True
    lowest, highest = torch.aminmax(tensor.float() if tensor.dtype.itemsize == 1 else tensor)
    return bool(lowest.isfinite() & highest.isfinite())


def check_weights(place: str | Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise CheckpointError that names ``place`` and the tensor unless all weights are finite."""
    if wrong := not_finite(tensors):
        raise CheckpointError(f"{place}: {wrong}: {ADVICE}")


def check_read_weights(folder: str | Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise CheckpointError that names the file and the tensor unless all weights read from ``folder`` are finite."""
    for name, tensor in tensors:
        if not is_finite(tensor):
            check_weights(_file_of(Path(folder), name), [(name, tensor)])


def _file_of(folder: Path, name: str) -> Path:
    """Return the file of a folder that holds a tensor, whose name there may have a prefix; else the folder."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                if any(key == name or key.endswith(f".{name}") for key in tensors.keys()):  # noqa: SIM118
                    return file
        except SafetensorError:
            continue
    return folder
