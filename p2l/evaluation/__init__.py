"""Metrics, each written once, read off the log-probabilities of a family, and the suite that takes them all."""

from p2l.data.categories import Category
from p2l.evaluation.arena import ArenaRatings
from p2l.evaluation.bootstrap import Interval
from p2l.evaluation.by_category import CategoryEvaluation
from p2l.evaluation.compared import CATEGORY_METRICS, LeaderboardPair
from p2l.evaluation.output import EvaluationOutput
from p2l.evaluation.proper import proper_metrics
from p2l.evaluation.ranked import RankedVotes
from p2l.evaluation.sections import EvaluationMetrics
from p2l.evaluation.simple import SIMPLE_METRICS, ScoredVotes, UndefinedError, measure
from p2l.evaluation.sources import EvaluationSource
from p2l.evaluation.subsets import SubsetPlan
from p2l.evaluation.suite import EvaluationSuite
from p2l.evaluation.votes import VoteScores, bootstrap_difference, score_votes

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
