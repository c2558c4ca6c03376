"""Which parameters the votes determine, and which only the ridge keeps finite.

Move the parameters far along a direction: if no outcome that was voted becomes improbable, the votes do not bound it.
With d the change of the coefficients and h >= 0 that of the margin of a tie, a win of a needs d_a >= d_b + h, a tie
|d_a - d_b| <= h. Grounded families compare with a phantom too, whose coefficient is 0: a win needs d_a >= 0, a tie that
one of both is >= 0, both bad that both are <= 0. For h = 0 this is Ford's condition (Am. Math. Monthly 64, 1957): the
graph of "not always beaten by", phantom included, must be strongly connected.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from p2l.leaderboard.vote_counts import VoteRows
from p2l.outcomes import OutcomeFamily
from p2l.outcomes.family import BOTH_BAD, TIE


@dataclass(frozen=True)
class Identification:
    """What the votes do not determine.

    Attributes:
        loose: models whose strength the votes do not bound, relative to the others of their component.
        never_lost, never_won: those of them without a loss (or both bad), or without a win; a tie is neither.
        no_level: the family is grounded, and the votes do not bound the mean coefficient.
        no_ties, only_ties: eta is not identified: no vote is a tie, or ties and wins allow any larger margin.
    """

    loose: Bool[np.ndarray, " models"]
    never_lost: Bool[np.ndarray, " models"]
    never_won: Bool[np.ndarray, " models"]
    no_level: bool
    no_ties: bool
    only_ties: bool


@dataclass(frozen=True)
class _Seen:
    """Which outcomes each pair of models (row) has votes of; ``bad`` is None if the family is not grounded."""

    a: Int64[np.ndarray, " rows"]
    b: Int64[np.ndarray, " rows"]
    win: Bool[np.ndarray, " rows"]
    lose: Bool[np.ndarray, " rows"]
    tie: Bool[np.ndarray, " rows"]
    bad: Bool[np.ndarray, " rows"] | None


def identify(
    rows: VoteRows, family: OutcomeFamily, shares: Tensor, component: Int64[np.ndarray, " models"]
) -> Identification:
    """Return what these votes do not determine under a family; ``component`` is that of the comparison graph."""
    seen, size = _seen(rows, family, shares), len(rows.models)
    main = _anchors(seen, component)
    loose = (component >= 0) & ~main[:size]
    only_ties = bool(family.num_eta) and bool(seen.tie.any()) and _any_margin(seen, size)
    won, lost = (_marked(size, seen.a[w], seen.b[x]) for w, x in ((seen.win, seen.lose), (seen.lose, seen.win)))
    if only_ties:
        free = component >= 0 if seen.bad is None or not seen.bad.any() else won | lost
        loose = loose | free
    if seen.bad is not None:
        lost = lost | _marked(size, seen.a[seen.bad], seen.b[seen.bad])
    no_ties = bool(family.num_eta) and TIE in family.outcomes and not seen.tie.any()
    no_level = seen.bad is not None and not main[size]
    return Identification(loose, loose & won & ~lost, loose & lost & ~won, no_level, no_ties, only_ties)


def bounded_beside(
    rows: VoteRows, family: OutcomeFamily, shares: Tensor, fixed: Bool[np.ndarray, " models"]
) -> Bool[np.ndarray, " models"]:
    """Mark the models whose strength the votes bound while the ``fixed`` models, and eta, keep theirs."""
    seen, size = _seen(rows, family, shares), len(rows.models)
    # all that is fixed, the phantom included, is one node
    a, b = (np.where(fixed[side], size, side) for side in (seen.a, seen.b))
    label = _strong(replace(seen, a=a, b=b), size)
    return fixed | (label[:size] == label[size])


def _seen(rows: VoteRows, family: OutcomeFamily, shares: Tensor) -> _Seen:
    column = {name: (shares[:, i] > 0).numpy() for i, name in enumerate(family.outcomes)}
    win, lose = list(column.values())[:2]
    tie = column.get(TIE, np.zeros_like(win))
    return _Seen(rows.model_a, rows.model_b, win, lose, tie, column.get(BOTH_BAD))


def _marked(size: int, *models: np.ndarray) -> Bool[np.ndarray, " models"]:
    found = np.zeros(size, dtype=bool)
    found[np.concatenate(models)] = True
    return found


def _anchors(seen: _Seen, component: Int64[np.ndarray, " models"]) -> Bool[np.ndarray, " models_and_phantom"]:
    """Mark, in each part, the largest group whose members are bounded relative to each other; last the phantom."""
    size = len(component)
    label = _strong(seen, size)
    # the phantom joins the parts of a grounded family
    part = np.append(component if seen.bad is None else np.minimum(component, 0), 0)
    anchor = np.zeros(size + 1, dtype=bool)
    for value in np.unique(part[part >= 0]):
        inside = np.flatnonzero(part[:size] == value)
        groups, counts = np.unique(label[inside], return_counts=True)
        largest = groups[counts == counts.max()]
        if len(largest) == 1 and (counts.max() > 1 or len(inside) == 1):
            anchor |= (label == largest[0]) & (part == value)
        elif seen.bad is not None and label[size] in groups:
            anchor |= label == label[size]
    return anchor


def _strong(seen: _Seen, size: int) -> Int64[np.ndarray, " models_and_phantom"]:
    """Return the strongly connected component of each model, and of the phantom at the end."""
    above = [(seen.a, seen.b, seen.win | seen.tie), (seen.b, seen.a, seen.lose | seen.tie)]
    if seen.bad is not None:
        phantom = np.full(len(seen.a), size)
        above += [(seen.a, phantom, seen.win | seen.tie), (seen.b, phantom, seen.lose | seen.tie)]
        above += [(phantom, seen.a, seen.bad), (phantom, seen.b, seen.bad)]
    sources, targets = (np.concatenate([edge[end][edge[2]] for edge in above]) for end in (0, 1))
    graph = coo_matrix((np.ones(len(sources)), (sources, targets)), shape=(size + 1, size + 1))
    return connected_components(graph, directed=True, connection="strong")[1].astype(np.int64)


def _any_margin(seen: _Seen, size: int) -> bool:
    """Return whether the margin of a tie can grow without bound: d exists for h = 1, a system of differences."""
    if (seen.win & seen.lose).any():
        return False
    phantom = np.full(len(seen.a), size)
    # d[target] <= d[source] + weight
    at_most = [(seen.a, seen.b, seen.win, -1), (seen.b, seen.a, seen.lose, -1)]
    at_most += [(seen.a, seen.b, seen.tie, 1), (seen.b, seen.a, seen.tie, 1)]
    if seen.bad is not None:
        at_most += [(seen.a, phantom, seen.win, 0), (seen.b, phantom, seen.lose, 0)]
        at_most += [(phantom, seen.a, seen.bad, 0), (phantom, seen.b, seen.bad, 0)]
    source, target = (np.concatenate([(a, b)[end][at] for a, b, at, _ in at_most]) for end in (0, 1))
    weight = np.concatenate([np.full(int(at.sum()), float(h)) for _, _, at, h in at_most])
    if _shortest(np.zeros(size + 1), source, target, weight) is None:
        return False
    highest = _shortest(np.append(np.full(size, np.inf), 0.0), source, target, weight)
    assert highest is not None
    return seen.bad is None or bool((np.maximum(highest[seen.a], highest[seen.b])[seen.tie] >= 0).all())


def _shortest(start: np.ndarray, source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Return the shortest distances (Bellman and Ford); None if a circle of edges is negative."""
    distance = start
    for _ in range(len(start) + 1):
        shorter = distance.copy()
        np.minimum.at(shorter, target, distance[source] + weight)
        if (shorter == distance).all():
            return distance
        distance = shorter
    return None
