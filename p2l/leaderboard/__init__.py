"""Fit one leaderboard to many votes, with intervals, or summarise the leaderboards of many prompts in one."""

from p2l.leaderboard.aggregate_prompts import aggregate, aggregate_subsets
from p2l.leaderboard.fit_leaderboard import fit, fit_subsets, fit_votes
from p2l.leaderboard.leaderboard_fit import LeaderboardFit
from p2l.leaderboard.rank_prompts import rank, rank_prompts
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
