"""Encode the prompts of a vote table once, into one flat array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from p2l.data.prompt_encoder import Prompt, PromptEncoder

CHUNK = 1024


class PromptBatch(NamedTuple):
    """Prompts padded on the right to one length, and the position of each in its table.

    ``states``, if given, are the hidden states that the head reads: the backbone need not run.
    """

    input_ids: Int[Tensor, "prompts tokens"]
    attention_mask: Int[Tensor, "prompts tokens"]
    prompt_index: Int[Tensor, " prompts"]
    states: Float[Tensor, "prompts hidden"] | None = None


@dataclass(frozen=True)
class EncodedPrompts:
    """Token ids of many prompts: prompt i is ``ids[offsets[i]:offsets[i + 1]]``; four bytes a token.

    The arrays may be memory-mapped: plans of batches read the lengths alone. ``states`` are those of a frozen backbone,
    if they were computed; batches have them.
    """

    ids: np.ndarray
    offsets: np.ndarray
    pad_token_id: int
    states: Float[Tensor, "prompts hidden"] | None = None

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def pad(self, indices: Sequence[int] | np.ndarray) -> PromptBatch:
        """Return the prompts at these positions as one batch, as wide as the longest."""
        rows = [self[i] for i in indices]
        width = max(len(row) for row in rows)
        input_ids = np.full((len(rows), width), self.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            input_ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        index = torch.as_tensor(np.asarray(indices))
        states = None if self.states is None else self.states[index]
        return PromptBatch(torch.from_numpy(input_ids), torch.from_numpy(mask), index, states)


def encode_prompts(encoder: PromptEncoder, prompts: Sequence[Prompt], *, progress: bool = True) -> EncodedPrompts:
    """Encode every prompt once, with a progress bar if there are many."""
    parts = list(encoded_parts(encoder, prompts, progress=progress))
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))
    flat = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    return EncodedPrompts(flat, offsets, encoder.pad_token_id)


def encoded_parts(encoder: PromptEncoder, prompts: Sequence[Prompt], *, progress: bool) -> Iterator[np.ndarray]:
    """Yield the ids of each prompt, with a progress bar if there are many."""
    chunks = range(0, len(prompts), CHUNK)
    for start in tqdm(chunks, desc="encoding prompts", unit="k prompts", disable=not progress or len(chunks) < 4):
        for ids in encoder.encode_batch(prompts[start : start + CHUNK]):
            yield np.asarray(ids, dtype=np.int32)
