"""Statistics on votes and rankings: one leaderboard for many votes, or for many prompts, with intervals."""

from p2l.leaderboard.aggregate import aggregate, aggregate_subsets
from p2l.leaderboard.fit import fit, fit_subsets, fit_votes
from p2l.leaderboard.leaderboard_plots import plot_intervals, plot_leaderboards
from p2l.leaderboard.rank_prompts import rank_prompts
from p2l.leaderboard.result import LeaderboardFit
from p2l.leaderboard.table import leaderboard_table, leaderboard_tables

__all__ = [
    "LeaderboardFit",
    "aggregate",
    "aggregate_subsets",
    "fit",
    "fit_subsets",
    "fit_votes",
    "leaderboard_table",
    "leaderboard_tables",
    "plot_intervals",
    "plot_leaderboards",
    "rank_prompts",
]
