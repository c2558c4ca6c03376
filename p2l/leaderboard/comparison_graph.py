"""The comparison graph: models are connected if the votes compare them, directly or through others."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from p2l.leaderboard.vote_counts import VoteRows
from p2l.outcomes import OutcomeFamily


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


def one_sided(
    rows: VoteRows, shares: Float[Tensor, "rows outcomes"], component: Int64[np.ndarray, " models"]
) -> list[str]:
    """Return the models of the largest component whose strength the likelihood does not bound: Ford's condition.

    The graph of "not always beaten by" is disconnected there: some models, or groups, won all their votes against all
    others, or lost them all. The ridge alone bounds their coefficients.
    """
    ties = shares[:, 2:].sum(-1)
    beat, lost = ((shares[:, k] + ties > 0).numpy() for k in (0, 1))
    label = _label(rows, beat, lost, connection="strong")
    inside = np.flatnonzero(component == 0)
    main = np.bincount(label[inside]).argmax()
    return [rows.models[i] for i in inside if label[i] != main]


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


def notes(
    rows: VoteRows, family: OutcomeFamily, shares: Tensor, component: np.ndarray, converged: bool
) -> tuple[str, ...]:
    """Return the warnings about a fit and its votes, in sentences."""
    found = []
    if not converged:
        found.append("the fit did not converge; a larger ridge may help")
    if silent := [rows.models[i] for i in np.flatnonzero(component < 0)]:
        found.append(f"no vote with evidence under {family.name} on {_names(silent)}: left out of the leaderboard")
    if component.max() > 0 and family.shift_invariant:
        others = [rows.models[i] for i in np.flatnonzero(component > 0)]
        found.append(
            f"the votes fall into {component.max() + 1} parts that never met; coefficients compare within a part only, "
            f"outside the largest are {_names(others)}"
        )
    if family.shift_invariant and (extreme := one_sided(rows, shares, component)):
        found.append(f"won or lost every vote against the rest, so that only the ridge bounds them: {_names(extreme)}")
    return tuple(found)


def _names(models: list[str], shown: int = 5) -> str:
    return ", ".join(models[:shown]) + (f" and {len(models) - shown} more" if len(models) > shown else "")
