"""Statistics on votes and rankings."""

from p2l.leaderboard.fit import count_outcomes, fit_marginal, fit_votes
from p2l.leaderboard.plots import plot_leaderboards
from p2l.leaderboard.prompts import rank_prompts
from p2l.leaderboard.table import leaderboard_table, leaderboard_tables

__all__ = [
    "count_outcomes",
    "fit_marginal",
    "fit_votes",
    "leaderboard_table",
    "leaderboard_tables",
    "plot_leaderboards",
    "rank_prompts",
]
