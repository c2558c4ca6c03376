"""A checkpoint without the weights of its backbone: it names where they are, and knows them by their digest."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from p2l.errors import CheckpointError
from p2l.models.backbone import load_backbone, local_folder

_CHUNK = 2**24  # bytes


@dataclass(frozen=True)
class BackboneReference:
    """``path``: folder, hub id or ``package:NAME/folder``; ``digest``: of the weight files there."""

    path: str
    digest: str

    @classmethod
    def to(cls, path: str) -> "BackboneReference":
        """Refer to the backbone that is at ``path`` today."""
        return cls(path, digest_of_weights(local_folder(path)))

    @classmethod
    def from_dict(cls, values: Any, source: Path) -> "BackboneReference":
        """Read the entry ``backbone`` of the file ``source``; CheckpointError if it is not one."""
        if not isinstance(values, dict) or not all(isinstance(values.get(key), str) for key in ("path", "digest")):
            raise CheckpointError(
                f"{source}: backbone must be an object with path and digest, both text; got {values!r}"
            )
        return cls(values["path"], values["digest"])

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    def folder(self, checkpoint: str) -> str:
        """Return the local folder of the backbone; CheckpointError if its weights are others than it was trained on."""
        folder = local_folder(self.path)
        if (found := digest_of_weights(folder)) != self.digest:
            raise CheckpointError(
                f"{checkpoint} was trained on the backbone {self.path} with weights {self.digest}, but those there are "
                f"{found or 'missing'}; its head would give wrong rankings. Install the version of the backbone that "
                "the checkpoint names in its README.md, or train again"
            )
        return folder

    def check_equal(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise CheckpointError unless each weight of a model's backbone, ``model.*``, is that of the reference."""
        theirs = load_backbone(local_folder(self.path)).state_dict()
        for name, weight in tensors.items():
            own = name.removeprefix("model.")
            if own != name and not (own in theirs and torch.equal(weight.float(), theirs[own].float())):
                raise CheckpointError(
                    f"{own} of the model differs from the backbone {self.path}, so that the checkpoint cannot refer to "
                    "it; train with model.freeze=true, or write the whole checkpoint"
                )


def digest_of_weights(folder: str) -> str:
    """Return a digest of all ``*.safetensors`` files of a folder, "" if it has none."""
    files = sorted(Path(folder).glob("*.safetensors"))
    digest = blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest() if files else ""
