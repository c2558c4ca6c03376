"""Evaluation: metrics written once for all likelihood families, and the suite that computes them by category."""

from p2l.data.categories import Category
from p2l.evaluation.arena_ratings import ArenaRatings
from p2l.evaluation.category_evaluation import CategoryEvaluation
from p2l.evaluation.category_metrics import CATEGORY_METRICS, LeaderboardPair
from p2l.evaluation.evaluation_output import EvaluationOutput
from p2l.evaluation.evaluation_sources import EvaluationSource
from p2l.evaluation.evaluation_suite import EvaluationSuite
from p2l.evaluation.metric_sections import EvaluationMetrics
from p2l.evaluation.proper_metrics import proper_metrics
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import SIMPLE_METRICS, ScoredVotes, UndefinedError, measure
from p2l.evaluation.subset_comparisons import SubsetPlan
from p2l.evaluation.vote_scores import VoteScores, bootstrap_difference, score_votes
from p2l.statistics.bootstrap import Interval

__all__ = [
    "CATEGORY_METRICS",
    "SIMPLE_METRICS",
    "ArenaRatings",
    "Category",
    "CategoryEvaluation",
    "EvaluationMetrics",
    "EvaluationOutput",
    "EvaluationSource",
    "EvaluationSuite",
    "Interval",
    "LeaderboardPair",
    "RankedVotes",
    "ScoredVotes",
    "SubsetPlan",
    "UndefinedError",
    "VoteScores",
    "bootstrap_difference",
    "measure",
    "proper_metrics",
    "score_votes",
]
