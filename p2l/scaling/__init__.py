"""Scaling laws: the loss that model size and number of votes lead to."""

from p2l.scaling.points import ScalingPoint, points_table, read_points

__all__ = ["ScalingPoint", "points_table", "read_points"]
