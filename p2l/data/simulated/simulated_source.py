"""The simulated arena as a source of votes."""

from dataclasses import dataclass

import numpy as np

from p2l.data.simulated.simulated_arena import SimulatedArena, load_prompts, simulate_votes, split_prompts
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable


@dataclass(frozen=True)
class SimulatedVotes:
    """Votes drawn from known strengths over the prompts that ship with the package.

    Attributes:
        num_models: simulated LLMs.
        votes_per_prompt: on each training and validation prompt.
        held_out: share of the prompts that validation gets, of every topic.
        seed: of strengths, split and votes.
    """

    num_models: int = 24
    votes_per_prompt: int = 40
    held_out: float = 0.2
    seed: int = 0

    def arena(self) -> SimulatedArena:
        """The truth behind the votes."""
        return SimulatedArena.from_seed(num_models=self.num_models, seed=self.seed)

    def load(self) -> VoteSplits:
        """Training and validation votes; no prompt is in both."""
        arena = self.arena()
        train, val = split_prompts(load_prompts(), held_out=self.held_out, seed=self.seed)
        tables = [
            VoteTable.from_frame(simulate_votes(arena, frame, self.votes_per_prompt, seed), arena.models)
            for frame, seed in zip(
                (train, val), np.random.SeedSequence(self.seed).generate_state(2).tolist(), strict=True
            )
        ]
        return VoteSplits(*tables)
