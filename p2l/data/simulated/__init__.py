"""The simulated arena: votes from known strengths over prompts that ship with the package; no download."""

from p2l.data.simulated.simulated_arena import (
    SimulatedArena,
    load_prompts,
    mean_spearman,
    simulate_votes,
    split_prompts,
)
from p2l.data.simulated.simulated_source import SimulatedVotes
from p2l.data.simulated.simulated_stream import SimulatedStream

__all__ = [
    "SimulatedArena",
    "SimulatedStream",
    "SimulatedVotes",
    "load_prompts",
    "mean_spearman",
    "simulate_votes",
    "split_prompts",
]
