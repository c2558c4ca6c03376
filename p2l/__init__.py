"""Prompt to leaderboard: from preference votes to a model that turns any prompt into a leaderboard of LLMs."""

from p2l.leaderboard import rank_prompts
from p2l.models import load_checkpoint

__version__ = "0.1.0"
__all__ = ["load_checkpoint", "rank_prompts"]
