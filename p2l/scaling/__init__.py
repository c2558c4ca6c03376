"""Scaling laws: loss as a function of model size and number of votes."""

from p2l.scaling.held_out import errors, hold_out
from p2l.scaling.law import Observations, ScalingLaw, fit_law, observe
from p2l.scaling.law_intervals import LawFit, fit_with_intervals
from p2l.scaling.law_plots import plot_law
from p2l.scaling.points import ScalingPoint, points_table, read_points

__all__ = [
    "LawFit",
    "Observations",
    "ScalingLaw",
    "ScalingPoint",
    "errors",
    "fit_law",
    "fit_with_intervals",
    "hold_out",
    "observe",
    "plot_law",
    "points_table",
    "read_points",
]
