"""Fit one leaderboard to many votes, with intervals, or summarise the leaderboards of many prompts in one.

The modules are imported when a name is first used: votes are fitted without the packages of models.
"""

from typing import TYPE_CHECKING

from p2l.lazy_names import lazy_names

if TYPE_CHECKING:
    from p2l.leaderboard.aggregate_prompts import aggregate, aggregate_subsets
    from p2l.leaderboard.fit_leaderboard import fit, fit_subsets, fit_votes
    from p2l.leaderboard.leaderboard_fit import LeaderboardFit
    from p2l.leaderboard.prompt_rankings import rank, rank_prompts
    from p2l.ranking import Leaderboard, Leaderboards, leaderboard_table, leaderboard_tables
    from p2l.ranking.leaderboard_plots import plot_intervals, plot_leaderboards

__all__ = [
    "Leaderboard",
    "LeaderboardFit",
    "Leaderboards",
    "aggregate",
    "aggregate_subsets",
    "fit",
    "fit_subsets",
    "fit_votes",
    "leaderboard_table",
    "leaderboard_tables",
    "plot_intervals",
    "plot_leaderboards",
    "rank",
    "rank_prompts",
]

_NAMES_OF_MODULE = {
    "p2l.leaderboard.aggregate_prompts": ("aggregate", "aggregate_subsets"),
    "p2l.leaderboard.fit_leaderboard": ("fit", "fit_subsets", "fit_votes"),
    "p2l.leaderboard.leaderboard_fit": ("LeaderboardFit",),
    "p2l.leaderboard.prompt_rankings": ("rank", "rank_prompts"),
    "p2l.ranking": ("Leaderboard", "Leaderboards", "leaderboard_table", "leaderboard_tables"),
    "p2l.ranking.leaderboard_plots": ("plot_intervals", "plot_leaderboards"),
}
__getattr__ = lazy_names(__name__, _NAMES_OF_MODULE)
