"""Prompt to leaderboard: from preference votes to a model that turns any prompt into a leaderboard of LLMs.

    from p2l import fit, load_checkpoint

    fit("votes.parquet", family="bt").plot()       # one leaderboard of all votes, with intervals
    checkpoint = load_checkpoint("outputs/run/checkpoint")
    checkpoint.rank("What is 1+1?").table()        # the leaderboard of a prompt

Every public name is imported when it is first used, because most bring torch: ``import p2l`` alone takes no time.
"""

from typing import TYPE_CHECKING

from p2l.lazy_names import lazy_names

if TYPE_CHECKING:
    from p2l.data import SkipReport, VoteTable, load_votes, read_prompts, read_table, split_votes
    from p2l.errors import CheckpointError, ConfigError, DataError, P2LError, PromptError
    from p2l.leaderboard import LeaderboardFit, aggregate, fit, rank, rank_prompts
    from p2l.models import Checkpoint, Predictor, load_checkpoint, predict, push_checkpoint, save_checkpoint
    from p2l.outcomes import FAMILIES, OutcomeFamily, get_family
    from p2l.ranking import Leaderboard, Leaderboards
    from p2l.training import train
    from p2l.types import Outcome, Ranking

__version__ = "0.1.0"
__all__ = [
    "FAMILIES",
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Leaderboard",
    "LeaderboardFit",
    "Leaderboards",
    "Outcome",
    "OutcomeFamily",
    "P2LError",
    "Predictor",
    "PromptError",
    "Ranking",
    "SkipReport",
    "VoteTable",
    "__version__",
    "aggregate",
    "fit",
    "get_family",
    "load_checkpoint",
    "load_votes",
    "predict",
    "push_checkpoint",
    "rank",
    "rank_prompts",
    "read_prompts",
    "read_table",
    "save_checkpoint",
    "split_votes",
    "train",
]

_NAMES_OF_MODULE = {
    "p2l.data": ("SkipReport", "VoteTable", "load_votes", "read_prompts", "read_table", "split_votes"),
    "p2l.errors": ("CheckpointError", "ConfigError", "DataError", "P2LError", "PromptError"),
    "p2l.leaderboard": ("LeaderboardFit", "aggregate", "fit", "rank", "rank_prompts"),
    "p2l.models": ("Checkpoint", "Predictor", "load_checkpoint", "predict", "push_checkpoint", "save_checkpoint"),
    "p2l.outcomes": ("FAMILIES", "OutcomeFamily", "get_family"),
    "p2l.ranking": ("Leaderboard", "Leaderboards"),
    "p2l.training": ("train",),
    "p2l.types": ("Outcome", "Ranking"),
}
__getattr__ = lazy_names(__name__, _NAMES_OF_MODULE)


def __dir__() -> list[str]:
    return sorted(__all__)
