"""Which hidden state of a prompt the head reads."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Readout = Literal["cls", "mean"]


def read_out(
    hidden_states: Float[Tensor, "batch tokens hidden"],
    input_ids: Int[Tensor, "batch tokens"],
    attention_mask: Int[Tensor, "batch tokens"],
    readout: Readout,
    cls_token_id: int,
) -> Float[Tensor, "batch hidden"]:
    """The hidden state at the CLS token (published), or the mean over the prompt's tokens (sentence encoders)."""
    if readout == "cls":
        position = (input_ids == cls_token_id).int().argmax(dim=1)
        return hidden_states[torch.arange(len(position), device=position.device), position]
    mask = attention_mask.unsqueeze(-1).to(hidden_states.dtype)
    return (hidden_states * mask).sum(1) / mask.sum(1)
