"""Read the hidden state of a prompt for the head."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from p2l.models.packed import PackedRow

Readout = Literal["cls", "mean"]


def read_out(
    hidden_states: Float[Tensor, "batch tokens hidden"],
    input_ids: Int[Tensor, "batch tokens"],
    attention_mask: Int[Tensor, "batch tokens"],
    readout: Readout,
    cls_token_id: int,
) -> Float[Tensor, "batch hidden"]:
    """Return the hidden state at the CLS token (published), or the mean over the tokens (sentence encoders)."""
    if readout == "cls":
        position = (input_ids == cls_token_id).int().argmax(dim=1)
        return hidden_states[torch.arange(position.shape[0], device=position.device), position]
    mask = attention_mask.unsqueeze(-1).to(hidden_states.dtype)
    return (hidden_states * mask).sum(1) / mask.sum(1)


def read_out_row(
    hidden_states: Float[Tensor, "tokens hidden"], row: PackedRow, readout: Readout, cls_token_id: int
) -> Float[Tensor, "batch hidden"]:
    """Read out prompts that are packed in one row; each has its CLS token once."""
    num_prompts = len(row.bounds) - 1
    if readout == "cls":
        # summed by prompt: a search for the CLS tokens would wait for the device
        place = torch.arange(len(row.prompt), device=row.prompt.device)
        position = row.bounds.new_zeros(num_prompts).index_add(
            0, row.prompt, place * (row.input_ids[0] == cls_token_id)
        )
        return hidden_states[position]
    states = hidden_states.float()  # bfloat16 cannot add thousands of terms
    total = states.new_zeros(num_prompts, states.shape[1]).index_add(0, row.prompt, states)
    return (total / row.bounds.diff().unsqueeze(-1)).to(hidden_states.dtype)
