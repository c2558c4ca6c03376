"""Objectives: functions of the log-probabilities of a family. They know no family by name."""

from p2l.losses.negative_log_likelihood import NegativeLogLikelihood

__all__ = ["NegativeLogLikelihood"]
