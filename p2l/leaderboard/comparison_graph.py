"""The comparison graph: models are connected if the votes compare them, directly or through others."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from p2l.leaderboard.vote_counts import VoteRows


def components(rows: VoteRows, shares: Float[Tensor, "rows outcomes"]) -> Int64[np.ndarray, " models"]:
    """Return the component of each model in the graph of pairs that met, 0 the largest; -1 without votes."""
    met = (shares.sum(-1) > 0).numpy()
    label = _label(rows, met, met, connection="weak")
    voted = np.zeros(len(rows.models), dtype=bool)
    voted[rows.model_a[met]] = voted[rows.model_b[met]] = True
    sizes = np.bincount(label[voted], minlength=label.max() + 1)
    place = np.empty_like(sizes)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return np.where(voted, place[label], -1)


def _label(rows: VoteRows, forward: np.ndarray, backward: np.ndarray, connection: str) -> Int64[np.ndarray, " models"]:
    sources = np.concatenate([rows.model_a[forward], rows.model_b[backward]])
    targets = np.concatenate([rows.model_b[forward], rows.model_a[backward]])
    size = len(rows.models)
    graph = coo_matrix((np.ones(len(sources)), (sources, targets)), shape=(size, size))
    return connected_components(graph, directed=True, connection=connection)[1].astype(np.int64)


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
