"""Rank prompts in batches of like length."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.packing import pack_within
from p2l.data.prompts import Prompt
from p2l.models.checkpoint import Checkpoint
from p2l.types import Ranking

TOKEN_BUDGET = 16384


def predict(checkpoint: Checkpoint, prompts: Sequence[Prompt], *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """The ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,), float32 on the CPU.

    PromptError if one of them is not a string or a non-empty list of strings.
    """
    if not prompts:
        return Ranking(torch.zeros(0, len(checkpoint.models)), torch.zeros(0) if checkpoint.family.num_eta else None)
    return rank_encoded(checkpoint.model, encode_prompts(checkpoint.encoder, prompts), token_budget=token_budget)


@torch.inference_mode()
def rank_encoded(model: nn.Module, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """The ranking of each encoded prompt, of which there must be one; ``model`` runs in evaluation mode."""
    device = next(model.parameters()).device
    order: list[Tensor] = []
    coefs: list[Tensor] = []
    eta: list[Tensor] = []
    with evaluating(model):
        for batch in pack_within(prompts.lengths, token_budget):
            padded = prompts.pad(batch)
            ranking = model(padded.input_ids.to(device), padded.attention_mask.to(device))
            order.append(padded.prompt_index)
            coefs.append(ranking.coefs.cpu())
            if ranking.eta is not None:
                eta.append(ranking.eta.cpu())
    back = torch.argsort(torch.cat(order))
    return Ranking(torch.cat(coefs)[back], torch.cat(eta)[back] if eta else None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and then for each part the mode it was in: a frozen backbone trains in evaluation mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
