"""Groups of prompts, by the labels of a category column or by cluster."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from p2l.errors import DataError

log = logging.getLogger(__name__)

CLUSTER = "cluster"


@dataclass(frozen=True, eq=False)
class Group:
    """Prompts of a table that belong together; ``kind`` is the category column, or "cluster"."""

    kind: str
    name: str
    rows: Int64[np.ndarray, " prompts"]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of prompts, the largest first.

    Attributes:
        labels: the cluster of each prompt.
        names: the characteristic words of each cluster.
        positions: coordinates of each prompt on a map: the first two principal components of the embeddings.
        examples: for each cluster, its prompts from the centre outwards.
    """

    labels: Int64[np.ndarray, " prompts"]
    names: tuple[str, ...]
    positions: Float64[np.ndarray, "prompts 2"]
    examples: tuple[Int64[np.ndarray, " _"], ...]

    def groups(self) -> list[Group]:
        return [Group(CLUSTER, name, np.flatnonzero(self.labels == i)) for i, name in enumerate(self.names)]


def category_groups(categories: Mapping[str, Sequence[tuple[str, ...]]]) -> list[Group]:
    """Return a group for each label of each category column, by name.

    Raises DataError for a column without labels.
    """
    groups = []
    for kind, labels in categories.items():
        rows: dict[str, list[int]] = {}
        for row, names in enumerate(labels):
            for name in names:
                rows.setdefault(name, []).append(row)
        if not rows:
            raise DataError(f"category column {kind!r} holds no label in any row; leave it out of categories=")
        without = sum(not names for names in labels)
        if without:
            log.info("%d of %d prompts have no %s and are in none of its groups", without, len(labels), kind)
        groups += [Group(kind, name, np.array(rows[name])) for name in sorted(rows)]
    return groups
