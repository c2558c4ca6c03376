"""The comparison graph: models are connected if the votes compare them, directly or through others."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from p2l.data.table_summary import connected_parts
from p2l.leaderboard.vote_counts import VoteRows


def components(rows: VoteRows, shares: Float[Tensor, "rows outcomes"]) -> Int64[np.ndarray, " models"]:
    """Return the component of each model in the graph of pairs that met, 0 the largest; -1 without votes."""
    met = (shares.sum(-1) > 0).numpy()
    return connected_parts(rows.model_a[met], rows.model_b[met], len(rows.models))


def centring(
    part: Int64[np.ndarray, " models"], num_parameters: int, shift_invariant: bool
) -> Float[Tensor, "parameters parameters"]:
    """Return the linear map to the gauge: mean 0 in each component of a shift-invariant family; else the identity."""
    matrix = torch.eye(num_parameters, dtype=torch.float64)
    if shift_invariant:
        for label in np.unique(part[part >= 0]):
            members = torch.from_numpy(np.flatnonzero(part == label))
            matrix[members[:, None], members] -= 1 / len(members)
    return matrix
