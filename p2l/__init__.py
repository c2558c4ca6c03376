"""Prompt to leaderboard: from preference votes to a model that turns any prompt into a leaderboard of LLMs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2l.leaderboard import rank_prompts
    from p2l.models import load_checkpoint

__version__ = "0.1.0"
__all__ = ["load_checkpoint", "rank_prompts"]


def __getattr__(name: str) -> Any:
    """Imported when asked for, since they bring torch: programs that only watch over others start without it."""
    if name == "load_checkpoint":
        from p2l.models import load_checkpoint

        return load_checkpoint
    if name == "rank_prompts":
        from p2l.leaderboard import rank_prompts

        return rank_prompts
    raise AttributeError(f"module 'p2l' has no attribute {name!r}")
