"""The simulated arena: votes from known strengths over prompts that ship with the package, without a download."""

from p2l.data.simulated.arena_stream import SimulatedStream
from p2l.data.simulated.arena_truth import (
    SimulatedArena,
    load_prompts,
    mean_spearman,
    simulate_votes,
    split_prompts,
)
from p2l.data.simulated.arena_votes import SimulatedVotes

__all__ = [
    "SimulatedArena",
    "SimulatedStream",
    "SimulatedVotes",
    "load_prompts",
    "mean_spearman",
    "simulate_votes",
    "split_prompts",
]
