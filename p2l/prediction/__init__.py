"""Rank a dataset of prompts with a checkpoint, on any number of devices, resumable."""

from p2l.prediction.predict_module import PredictModule

__all__ = ["PredictModule"]
