"""The comparison graph: models are connected if the votes compare them, directly or through others."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from p2l.data.table_summary import connected_parts
from p2l.leaderboard.vote_counts import VoteRows
from p2l.ranking.leaderboard_table import reference_models

_UNKNOWN = 30.0  # nats, 5,200 Elo points: the standard deviation of what no vote tells


def components(rows: VoteRows, shares: Float[Tensor, "rows outcomes"]) -> Int64[np.ndarray, " models"]:
    """Return the component of each model in the graph of pairs that met, 0 the largest; -1 without votes."""
    met = (shares.sum(-1) > 0).numpy()
    return connected_parts(rows.model_a[met], rows.model_b[met], len(rows.models))


def centring(
    part: Int64[np.ndarray, " models"],
    identified: Bool[np.ndarray, " models"],
    num_parameters: int,
    shift_invariant: bool,
) -> Float[Tensor, "parameters parameters"]:
    """Return the linear map to the gauge: the identity, or of a shift-invariant family mean 0 in each component.

    The mean is that of the component's identified models; of all if none is.
    """
    matrix = torch.eye(num_parameters, dtype=torch.float64)
    if shift_invariant:
        for label in np.unique(part[part >= 0]):
            members = np.flatnonzero(part == label)
            reference = torch.from_numpy(members[reference_models(identified[members])])
            matrix[torch.from_numpy(members)[:, None], reference] -= 1 / len(reference)
    return matrix


def outside_parts(component: Int64[np.ndarray, " models"], shift_invariant: bool) -> Bool[np.ndarray, " models"]:
    """Mark the models that no vote compares with the largest part; under a grounded family all are compared."""
    return (component > 0) & shift_invariant


def unknown_shifts(
    component: Int64[np.ndarray, " models"], outside: Bool[np.ndarray, " models"]
) -> Float64[np.ndarray, "models models"]:
    """Return the covariance that the unknown shifts of the parts ``outside`` add, each by any amount."""
    return _UNKNOWN**2 * ((component[:, None] == component) & outside[:, None])


def drawn_shifts(
    component: Int64[np.ndarray, " models"], outside: Bool[np.ndarray, " models"], resamples: int
) -> Float64[np.ndarray, "resamples models"]:
    """Return the same shifts for each resample."""
    drawn = np.random.default_rng(0).normal(0, _UNKNOWN, (resamples, int(component.max()) + 1))
    return drawn[:, component] * outside
