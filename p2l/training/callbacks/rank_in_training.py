"""Rank many prompts with a module in training, through its strategy and in its precision."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from lightning import Trainer
from torch import Tensor

from p2l.data.encoding import EncodedPrompts
from p2l.data.packing import pack_within
from p2l.errors import DivergedError
from p2l.models.batch_ranking import concatenate, evaluating, no_ranking
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking

RankedPart = tuple[Tensor, Ranking]  # positions of prompts, and their rankings


@torch.no_grad()
def rank_in_training(trainer: Trainer, module: P2LModule, prompts: EncodedPrompts, token_budget: int) -> Ranking:
    """Return the ranking of each prompt, float32 on the CPU. Call it on all ranks, since shards are gathered."""
    if not len(prompts):
        return no_ranking(module.model.head.num_models, module.model.head.family)
    strategy, parts = trainer.strategy, []
    with evaluating(module):
        for members in pack_within(prompts.lengths, token_budget):
            batch = strategy.batch_to_device(prompts.pad(members))
            parts.append(to_cpu(strategy.validation_step(batch, 0)))
    rankings = assemble(parts, len(prompts))
    check_finite(rankings, f"step {trainer.global_step}")
    return rankings


def hidden_in_training(
    trainer: Trainer, module: P2LModule, prompts: EncodedPrompts, token_budget: int
) -> Float[Tensor, "prompts hidden"]:
    """Return the hidden states that the head reads, in the order of the prompts. Call it on all ranks."""
    states: list[Tensor] = []
    seen = module.model.head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].float().cpu()))
    try:
        rank_in_training(trainer, module, prompts, token_budget)
    finally:
        seen.remove()
    order = np.concatenate(pack_within(prompts.lengths, token_budget))
    return torch.cat(states)[torch.from_numpy(np.argsort(order))]


def check_finite(rankings: Ranking, where: str) -> None:
    """Raise DivergedError unless all rankings are finite, though the weights are."""
    wrong = int((~rankings.is_finite()).sum())
    if wrong:
        raise DivergedError(
            f"{where}: the rankings of {wrong:,} of {len(rankings.coefs):,} prompts are NaN or infinite; try a lower "
            "optimizer.lr, or trainer.precision=32-true if activations overflow"
        )


def to_cpu(outputs: object) -> RankedPart:
    """Return the outputs of ``P2LModule.validation_step``, in float32 on the CPU."""
    assert isinstance(outputs, dict)
    ranking: Ranking = outputs["ranking"]
    return outputs["prompt_index"].cpu(), ranking.map(lambda x: x.float().cpu())


def assemble(parts: Sequence[RankedPart], num_prompts: int) -> Ranking:
    """Return the rankings in prompt order; NaN for a prompt that is in no part."""
    index = torch.cat([index for index, _ in parts])

    def in_order(found: Tensor) -> Tensor:
        table = torch.full((num_prompts, *found.shape[1:]), torch.nan)
        table[index] = found
        return table

    return concatenate([ranking for _, ranking in parts]).map(in_order)
