"""The votes that carry evidence in a likelihood family: ties carry none under "bt"."""

import logging

import numpy as np

from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily

log = logging.getLogger(__name__)


def with_evidence(splits: VoteSplits, family: OutcomeFamily) -> VoteSplits:
    """Drop the votes without evidence in ``family``, and log their number; DataError if a table has no others."""
    return VoteSplits(**{name: _with_evidence(name, table, family) for name, table in splits.items()})


def _with_evidence(name: str, table: VoteTable, family: OutcomeFamily) -> VoteTable:
    counts = (table.outcome_shares @ np.asarray(family.targets, dtype=np.float32)).sum(-1) > 0
    if counts.all():
        return table
    log.info(
        "%s: %d of %d votes are ties, which carry no evidence under %s", name, (~counts).sum(), len(table), family.name
    )
    if not counts.any():
        raise DataError(f"no {name} vote carries evidence under {family.name!r}; all {len(table)} are ties")
    return table.select(np.flatnonzero(counts))
