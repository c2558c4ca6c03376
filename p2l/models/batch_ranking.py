"""Rank encoded prompts in batches of similar length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from p2l.data.encoding import EncodedPrompts, PromptBatch
from p2l.data.packing import pack_within
from p2l.errors import CheckpointError
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

TOKEN_BUDGET = 16384


def rank_encoded(model: nn.Module, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """Return the ranking of each encoded prompt, at least one; ``model`` runs in evaluation mode."""
    device = next(model.parameters()).device
    with evaluating(model):
        return rank_in_batches(lambda batch: rank_batch(model, prompts.pad(batch), device), prompts, token_budget)


def rank_in_batches(
    rank: Callable[[np.ndarray], Ranking], prompts: EncodedPrompts, token_budget: int, *, packed: bool = False
) -> Ranking:
    """Call ``rank`` with the positions of prompts of similar length; return rankings in the order of the prompts."""
    batches = pack_within(prompts.lengths, token_budget, packed=packed)
    rankings = [rank(batch) for batch in batches]
    back = torch.from_numpy(np.argsort(np.concatenate(batches)))
    found = concatenate(rankings).map(lambda x: x[back])
    check_rankings(found, np.arange(len(back)))
    return found


def concatenate(rankings: Sequence[Ranking]) -> Ranking:
    """Return the rankings of all batches as one; each batch has the same parts."""
    return Ranking(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*rankings, strict=True)))


def check_rankings(rankings: Ranking, numbers: Sequence[int] | np.ndarray) -> None:
    """Raise CheckpointError unless all rankings are finite; ``numbers`` are those of their prompts."""
    wrong = np.flatnonzero(~rankings.is_finite().numpy())
    if len(wrong):
        raise CheckpointError(
            f"the ranking of {len(wrong):,} of {len(numbers):,} prompts is NaN or infinite, prompt {numbers[wrong[0]]} "
            "first: activations overflow in this precision; load the checkpoint with dtype=float32 or bfloat16"
        )


@torch.inference_mode()
def rank_batch(model: nn.Module, batch: PromptBatch, device: torch.device) -> Ranking:
    """Return the ranking of each prompt of one batch, on the CPU."""
    ranking = model(batch.input_ids.to(device), batch.attention_mask.to(device))
    return ranking.map(lambda x: x.cpu())


def pad(ids: Sequence[np.ndarray], pad_token_id: int) -> PromptBatch:
    """Pad encoded prompts to one batch."""
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in ids], dtype=np.int64)))
    return EncodedPrompts(np.concatenate(ids), offsets, pad_token_id).pad(np.arange(len(ids)))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode, then restore the mode of each part: a frozen backbone trains in evaluation mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def no_ranking(num_models: int, family: OutcomeFamily) -> Ranking:
    """Return the ranking of no prompts."""
    return Ranking(torch.zeros(0, num_models), torch.zeros(0) if family.num_eta else None)
