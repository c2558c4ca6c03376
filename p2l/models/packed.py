"""Prompts one after another in one row, without padding; each is computed as if alone."""

import sys
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from p2l.errors import ConfigError

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


def pack_row(input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]) -> PackedRow:
    """Pack prompts padded on the right in one row; waits once for the device, whose mask gives the row's length."""
    prompt, position = attention_mask.nonzero(as_tuple=True)
    bounds = torch.nn.functional.pad(attention_mask.sum(1).cumsum(0), (1, 0))
    return PackedRow(input_ids[prompt, position][None], position[None], prompt, bounds, input_ids.shape[1])


def check_packable(backbone: PreTrainedModel) -> None:
    """ConfigError unless transformers keeps the attention of this backbone within prompts that share a row.

    It does for decoders that make their mask from position ids; in encoders, and in layers with a state (Mamba),
    prompts would see each other.
    """
    config = backbone.config
    code = sys.modules[type(backbone).__module__]
    masked = hasattr(code, "create_causal_mask") and not hasattr(code, "create_bidirectional_mask")
    layers = set(getattr(config, "layer_types", None) or ())
    two_way = getattr(config, "use_bidirectional_attention", False) or config.is_encoder_decoder
    if not masked or two_way or not layers <= ATTENTION_WITHIN_PROMPTS:
        raise ConfigError(
            f"model.packed=true needs a decoder with nothing but attention between tokens; {config.model_type} would "
            f"mix the prompts of a row; set model.packed=false"
        )
