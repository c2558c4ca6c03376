"""Insight from prompts without votes: leaderboards of groups, strengths and weaknesses, regression tests, a report."""

from p2l.insight.analysis import Insight, Questions, analyse
from p2l.insight.compare_leaderboards import compare_leaderboards
from p2l.insight.group_leaderboards import GroupLeaderboard, difference, group_leaderboard
from p2l.insight.html_report import render
from p2l.insight.prompt_groups import Clusters, Group, category_groups
from p2l.insight.ranked_prompts import Columns, RankedPrompts, rank_table, read_rankings
from p2l.insight.regression import RegressionTest, compare_versions
from p2l.insight.strengths import strengths_and_weaknesses

__all__ = [
    "Clusters",
    "Columns",
    "Group",
    "GroupLeaderboard",
    "Insight",
    "Questions",
    "RankedPrompts",
    "RegressionTest",
    "analyse",
    "category_groups",
    "compare_leaderboards",
    "compare_versions",
    "difference",
    "group_leaderboard",
    "rank_table",
    "read_rankings",
    "render",
    "strengths_and_weaknesses",
]
