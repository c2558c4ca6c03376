"""Metrics, each written once, read off the log-probabilities of a family."""

from p2l.evaluation.votes import Interval, VoteScores, bootstrap_difference, score_votes

__all__ = ["Interval", "VoteScores", "bootstrap_difference", "score_votes"]
