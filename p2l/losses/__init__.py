"""Objectives: what is minimised, read off the log-probabilities of a family. They know no family by name."""

from p2l.losses.nll import NegativeLogLikelihood

__all__ = ["NegativeLogLikelihood"]
