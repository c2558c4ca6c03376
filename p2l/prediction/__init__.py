"""Rank a whole data set of prompts with a checkpoint: on any number of devices, resumable."""

from p2l.prediction.job import PredictionJob
from p2l.prediction.module import PredictModule

__all__ = ["PredictModule", "PredictionJob"]
