"""Attention within each prompt of a row, so that encoders run the tokens of a batch without padding."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# The name of this attention in transformers' table. Without runs it is sdpa.
WITHIN_PROMPTS = "sdpa_within_prompts"
# Encoders whose layers mix tokens by this attention alone, and whose positions are position_ids.
ENCODERS = {
    "BertModel",
    "CamembertModel",
    "DistilBertModel",
    "ElectraModel",
    "ErnieModel",
    "EuroBertModel",
    "ModernBertModel",
    "NomicBertModel",
    "RobertaModel",
    "XLMRobertaModel",
}


class Run(NamedTuple):
    """Neighbours of one length: ``prompts`` of ``length`` tokens, from token ``start`` of the row on."""

    start: int
    prompts: int
    length: int

    @property
    def tokens(self) -> slice:
        """The place of the run in the row."""
        return slice(self.start, self.start + self.prompts * self.length)


def runs_of(lengths: Sequence[int]) -> list[Run]:
    """Group neighbours of one length, so that each group is one call of the kernel."""
    runs, start = [], 0
    for length, same in groupby(lengths):
        runs.append(Run(start, len(list(same)), length))
        start += runs[-1].prompts * length
    return runs


def can_attend_within(backbone: PreTrainedModel) -> bool:
    """Return whether ``attend_within_prompts`` supports a backbone: an encoder of ENCODERS with torch's attention."""
    known = type(backbone).__name__ in ENCODERS and not getattr(backbone.config, "is_decoder", False)
    return known and backbone.config._attn_implementation in ("sdpa", WITHIN_PROMPTS)


def attend_within_prompts(backbone: PreTrainedModel) -> None:
    """Give an encoder the attention of rows; batches with padding are computed as before."""
    AttentionInterface.register(WITHIN_PROMPTS, _attention)
    AttentionMaskInterface.register(WITHIN_PROMPTS, sdpa_mask)
    backbone.set_attn_implementation(WITHIN_PROMPTS)


def _attention(
    module: nn.Module,
    query: Float[Tensor, "batch heads tokens width"],
    key: Float[Tensor, "batch groups tokens width"],
    value: Float[Tensor, "batch groups tokens width"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    runs: list[Run] | None = None,
    sliding_window: int | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """Attend within the runs of a row; without runs, as sdpa does. As transformers calls it."""
    if runs is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **arguments
        )
    parts = []
    for run in runs:
        shape = (run.prompts, run.length)
        own = [x[0, :, run.tokens].unflatten(1, shape).transpose(0, 1) for x in (query, key, value)]
        mask = _window(run.length, sliding_window, query.device)
        # grouped heads only where there are groups: with enable_gqa torch may choose a slower kernel
        out = scaled_dot_product_attention(
            own[0], own[1], own[2], mask, dropout, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        parts.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[None], None


def _window(length: int, sliding_window: int | None, device: torch.device) -> Tensor | None:
    """Return which tokens see each other; None for all. transformers' ``sliding_window`` counts the token itself."""
    if sliding_window is None or length <= sliding_window:
        return None
    place = torch.arange(length, device=device)
    return (place[:, None] - place).abs() < sliding_window
