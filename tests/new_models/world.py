"""A small world with a known truth: hidden states of prompts, a head that ranks some models, rows of others."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from p2l.data.vote_table import VoteTable
from p2l.heads import RankingHead
from p2l.new_models.row_fit import PromptFeatures, features_of_hidden
from p2l.outcomes import OutcomeFamily
from p2l.types import OUTCOMES, Ranking

HIDDEN, KNOWN, NEW, PROMPTS = 6, 16, ("zeta", "abel"), 150


@dataclass(frozen=True)
class World:
    """``truth`` is the ranking of each prompt over the known models and then the new ones."""

    head: RankingHead
    known: tuple[str, ...]
    features: PromptFeatures
    truth: Ranking

    @property
    def models(self) -> tuple[str, ...]:
        return (*self.known, *NEW)


def make_world(family: OutcomeFamily, rank: int | None = None, seed: int = 0) -> World:
    """Draw rows of known and new models alike: normal, each with its own level."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(PROMPTS, HIDDEN, generator=generator) + 0.5
    whole = RankingHead(HIDDEN, KNOWN + len(NEW), family, rank=rank)
    head = RankingHead(HIDDEN, KNOWN, family, rank=rank)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        state = {k: v[:KNOWN] if v.shape[0] == KNOWN + len(NEW) else v for k, v in whole.state_dict().items()}
        head.load_state_dict(state)
        truth, ranking = whole(hidden), head(hidden)
    known = tuple(f"model {i:02d}" for i in range(KNOWN))
    return World(head, known, features_of_hidden(head, ranking, hidden), truth)


def draw_votes(world: World, count: int, seed: int = 0, between_new: bool = False) -> VoteTable:
    """Draw votes from the truth: each new model against known ones, or the first new one against the second."""
    rng, family = np.random.default_rng(seed), world.head.family
    size = count * len(NEW)
    a = KNOWN + np.arange(size) % len(NEW)
    b = 2 * KNOWN + 1 - a if between_new else rng.integers(KNOWN, size=size)
    swap = rng.random(size) < 0.5
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    prompt = np.concatenate([np.arange(PROMPTS), rng.integers(PROMPTS, size=size - PROMPTS)])
    eta = None if world.truth.eta is None else world.truth.eta[prompt]
    log_probs = family.log_probs(world.truth.coefs[prompt, a], world.truth.coefs[prompt, b], eta)
    upper = log_probs.exp().numpy().cumsum(axis=1)[:, :-1]
    outcome = (rng.random((size, 1)) >= upper).sum(axis=1)
    kind = np.argmax(np.asarray(family.targets), axis=0)[outcome]
    names = np.array(world.models, dtype=object)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in prompt],
            "model_a": names[a],
            "model_b": names[b],
            "winner": [OUTCOMES[i].value for i in kind],
        }
    )
    return VoteTable.from_frame(frame, world.models)
