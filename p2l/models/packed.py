"""Prompts one after another in one row, without padding; each is computed as if alone."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from p2l.errors import ConfigError
from p2l.models.row_attention import ENCODERS, can_attend_within, runs_of

ATTENTION_WITHIN_PROMPTS = {"full_attention", "sliding_attention", "chunked_attention"}


class PackedRow(NamedTuple):
    """The tokens of a batch of prompts in one row.

    ``position_ids`` restart with each prompt, by which transformers separates prompts. ``prompt`` is the prompt of each
    token, ``bounds`` the start of each prompt and, last, the end of the row. No prompt is longer than ``longest``.
    """

    input_ids: Int[Tensor, "1 tokens"]
    position_ids: Int[Tensor, "1 tokens"]
    prompt: Int[Tensor, " tokens"]
    bounds: Int[Tensor, " bounds"]
    longest: int

    def flash_arguments(self) -> dict[str, Tensor | int]:
        """Return the arguments of flash-attention's kernel for packed rows; without them each layer computes them."""
        bounds = self.bounds.int()
        return {
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": self.longest,
            "max_length_k": self.longest,
        }

    def places(self, padding: int | None) -> Int[Tensor, "1 tokens"]:
        """Return the positions that the backbone gives these tokens.

        The RoBERTa family counts from the id of its padding on, and not the padding tokens that a text may name.
        """
        if padding is None:
            return self.position_ids
        counts = (self.input_ids[0] != padding).long()
        ends, starts = counts.cumsum(0), self.bounds[:-1]
        number = ends - (ends - counts)[starts][self.prompt]
        return (torch.minimum(number, self.position_ids[0] + 1) * counts + padding)[None]

    def run_arguments(self) -> dict[str, Any]:
        """Return the arguments that separate the prompts in ``row_attention``; waits for the device.

        transformers uses a mask of four dimensions as it is. Without one it would build one of all pairs of tokens.
        """
        return {"runs": runs_of(self.bounds.diff().tolist()), "attention_mask": torch.empty(0, 0, 0, 0)}


def row_of(ids: Sequence[np.ndarray], filler: int = 0) -> PackedRow:
    """Put encoded prompts in one row; ``filler`` tokens are added as one more prompt, whose result means nothing."""
    own = [*ids, np.zeros(filler, dtype=np.int64)] if filler else list(ids)
    lengths = np.array([len(prompt) for prompt in own])
    ends = np.cumsum(lengths)
    tokens = np.concatenate(own).astype(np.int64)
    places = np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)
    places[len(tokens) - filler :] = 0  # the backbone may have fewer positions
    return PackedRow(
        torch.from_numpy(tokens)[None],
        torch.from_numpy(places)[None],
        torch.from_numpy(np.repeat(np.arange(len(own)), lengths)),
        torch.from_numpy(np.concatenate(([0], ends))),
        int(lengths.max()),
    )


def pack_row(input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]) -> PackedRow:
    """Pack prompts padded on the right in one row; waits once for the device, whose mask gives the row's length."""
    prompt, position = attention_mask.nonzero(as_tuple=True)
    bounds = torch.nn.functional.pad(attention_mask.sum(1).cumsum(0), (1, 0))
    return PackedRow(input_ids[prompt, position][None], position[None], prompt, bounds, input_ids.shape[1])


def check_packable(backbone: PreTrainedModel) -> None:
    """ConfigError unless the attention of this backbone stays within prompts that share a row.

    transformers keeps it so in decoders that make their mask from position ids, and ``row_attention`` in encoders of
    the BERT kind. In other encoders, and in layers with a state (Mamba), prompts would see each other.
    """
    if can_attend_within(backbone):
        return
    config = backbone.config
    code = sys.modules[type(backbone).__module__]
    masked = hasattr(code, "create_causal_mask") and not hasattr(code, "create_bidirectional_mask")
    layers = set(getattr(config, "layer_types", None) or ())
    two_way = getattr(config, "use_bidirectional_attention", False) or config.is_encoder_decoder
    if not masked or two_way or not layers <= ATTENTION_WITHIN_PROMPTS:
        raise ConfigError(
            f"model.packed=true needs a decoder with nothing but attention between tokens, or one of the encoders "
            f"{', '.join(sorted(ENCODERS))} with sdpa; {config.model_type} would mix the prompts of a row; "
            "set model.packed=false"
        )
