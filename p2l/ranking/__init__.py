"""A ranking with the names of its models: leaderboards as objects and tables.

This package stands below ``models`` and ``leaderboard``, so that a checkpoint's ``rank`` and the fits to votes give
objects with the same methods, and neither has to import the other.
"""

from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT, leaderboard_table, leaderboard_tables
from p2l.ranking.pair_outcomes import pair_outcomes
from p2l.ranking.prompt_leaderboards import Leaderboard, Leaderboards

__all__ = [
    "ELO_POINTS_PER_NAT",
    "Leaderboard",
    "Leaderboards",
    "leaderboard_table",
    "leaderboard_tables",
    "pair_outcomes",
]
