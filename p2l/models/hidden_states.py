"""Hidden states of prompts, which the head of a model reads, with the rankings it makes of them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.packing import pack_within
from p2l.data.prompt_encoder import Prompt
from p2l.models.batch_ranking import evaluating
from p2l.models.checkpoint import Checkpoint
from p2l.types import Ranking


def rank_with_hidden_states(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], *, token_budget: int
) -> tuple[Ranking, Float[Tensor, "prompts hidden"]]:
    """Return the ranking of each prompt and the hidden state that the head reads, in one pass; float32 on the CPU."""
    model = checkpoint.model
    hidden = hidden_states(model, model.hidden, encode_prompts(checkpoint.encoder, prompts), token_budget)
    with torch.no_grad():
        ranking = model.head(hidden)
    return ranking.map(lambda x: x.float().cpu()), hidden.float().cpu()


@torch.no_grad()
def hidden_states(
    model: nn.Module, read: Callable[[Tensor, Tensor], Tensor], prompts: EncodedPrompts, token_budget: int
) -> Float[Tensor, "prompts hidden"]:
    """Return ``read(input_ids, attention_mask)`` of each prompt, in their order, on the device of ``model``.

    Batches hold prompts of similar length.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        batches = [prompts.pad(batch) for batch in pack_within(prompts.lengths, token_budget)]
        states = [read(batch.input_ids.to(device), batch.attention_mask.to(device)) for batch in batches]
    order = torch.cat([batch.prompt_index for batch in batches])
    return torch.cat(states)[torch.argsort(order).to(device)]
