"""The prior of a new model's row of the head, made from the rows of the known models."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_SMALLEST_SPREAD = 1e-6  # relative; smaller directions are rounding errors
_LEVELS_TO_REGRESS = 5  # fewer models do not determine how rows change with strength


@dataclass(frozen=True, eq=False)
class RowPrior:
    """Rows (weights and bias) as a centre and directions: ``row = centre + directions @ coordinates``.

    With f the input of a row, mu its mean over the prompts, and the level of a model its mean coefficient, the row of
    coordinates (t, u_1 .. u_k) gives the coefficient

        mean level + mean row . (f - mu) + t (1 + slope . (f - mu)) + sum_j u_j d_j . (f - mu)

    t is the level above the mean and ``slope`` the regression of the known rows on their levels. The d_j are the
    principal directions of the residuals, scaled by their spread, so that u_j has variance 1 over the known rows.
    """

    centre: Float64[np.ndarray, " weights_and_bias"]
    directions: Float64[np.ndarray, "weights_and_bias coordinates"]

    @classmethod
    def of_rows(
        cls,
        weight: Float64[np.ndarray, "models features"],
        bias: Float64[np.ndarray, " models"],
        mean_features: Float64[np.ndarray, " features"],
    ) -> "RowPrior":
        """Return the prior made from the rows of one or more known models."""
        levels = weight @ mean_features + bias
        apart, rows = levels - levels.mean(), weight - weight.mean(axis=0)
        slope = np.zeros_like(mean_features)
        if len(levels) >= _LEVELS_TO_REGRESS and apart.any():
            slope = apart @ rows / (apart @ apart)
        # in units of each weight's own spread: a feature of 1e-32 has weights of 1e30, which would hide all others
        unit = np.linalg.norm(rows, axis=0)
        unit[unit == 0] = 1.0
        _, spread, directions = np.linalg.svd((rows - np.outer(apart, slope)) / unit, full_matrices=False)
        kept = spread > _SMALLEST_SPREAD * np.linalg.norm(rows / unit)
        scaled = directions[kept] * unit * spread[kept, None] / np.sqrt(max(1, len(levels) - 1))
        weights = np.vstack([weight.mean(axis=0), slope, scaled])
        biases = np.concatenate([[levels.mean(), 1.0], np.zeros(len(scaled))]) - weights @ mean_features
        stacked = np.column_stack([weights, biases])
        return cls(stacked[0], stacked[1:].T)

    @property
    def num_coordinates(self) -> int:
        return self.directions.shape[1]

    def rows(
        self, coordinates: Float64[np.ndarray, "models coordinates"]
    ) -> Float64[np.ndarray, "models weights_and_bias"]:
        """Return the rows of these coordinates."""
        return self.centre + coordinates @ self.directions.T
