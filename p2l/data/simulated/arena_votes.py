"""Votes of the simulated arena, the same number on every prompt."""

from dataclasses import dataclass

import numpy as np

from p2l.data.simulated.arena_truth import SimulatedArena, load_prompts, simulate_votes, split_prompts
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.options import check_count, check_seed, check_share


@dataclass(frozen=True)
class SimulatedVotes:
    """Draw votes from known strengths over the prompts that ship with the package.

    Attributes:
        num_models: number of simulated LLMs.
        votes_per_prompt: on each training and validation prompt.
        held_out: share of the prompts of every topic that is used for validation.
        seed: of strengths, split and votes.
    """

    num_models: int = 24
    votes_per_prompt: int = 40
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("data.num_models", self.num_models, least=2)
        check_count("data.votes_per_prompt", self.votes_per_prompt)
        check_share("data.held_out", self.held_out)
        check_seed(self.seed)

    def arena(self) -> SimulatedArena:
        """Return the truth behind the votes."""
        return SimulatedArena.from_seed(num_models=self.num_models, seed=self.seed)

    def load(self) -> VoteSplits:
        """Draw training and validation votes; no prompt is in both."""
        arena = self.arena()
        train, val = split_prompts(load_prompts(), held_out=self.held_out, seed=self.seed)
        tables = [
            VoteTable.from_frame(simulate_votes(arena, frame, self.votes_per_prompt, seed), arena.models)
            for frame, seed in zip(
                (train, val), np.random.SeedSequence(self.seed).generate_state(2).tolist(), strict=True
            )
        ]
        return VoteSplits(*tables)
