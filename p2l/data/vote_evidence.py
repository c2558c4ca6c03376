"""The votes that carry evidence in a likelihood family: ties carry none under "bt"."""

import logging
from collections.abc import Iterator

import numpy as np

from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily
from p2l.statistics.bootstrap import FEW_CLUSTERS
from p2l.winner import OUTCOMES

log = logging.getLogger(__name__)


def with_evidence(splits: VoteSplits, family: OutcomeFamily) -> VoteSplits:
    """Drop the votes without evidence in ``family``, and log their number; DataError if a table has no others.

    Raises DataError too if all training votes are ties, or all are both bad: no model differs from another.
    """
    tables = {name: table_with_evidence(name, table, family) for name, table in splits.items()}
    _check_differences(tables["train"])
    return VoteSplits(**tables, advice=splits.advice)


def _check_differences(train: VoteTable) -> None:
    for outcome, shares in zip(OUTCOMES[2:], train.outcome_shares[:, 2:].T, strict=True):
        if (shares == 1).all():
            raise DataError(
                f"all {len(train):,} training votes are {outcome.value}: nothing tells one model from another; check "
                "the column winner (columns=, winner_map=), or give more votes"
            )


def table_with_evidence(name: str, table: VoteTable, family: OutcomeFamily) -> VoteTable:
    """Do the same for one table, which messages call ``name``."""
    counts = (table.outcome_shares @ np.asarray(family.targets, dtype=np.float32)).sum(-1) > 0
    if counts.all():
        return table
    log.info(
        "%s: %d of %d votes are ties, which carry no evidence under %s", name, (~counts).sum(), len(table), family.name
    )
    if not counts.any():
        raise DataError(f"no {name} vote carries evidence under {family.name!r}; all {len(table)} are ties")
    return table.select(np.flatnonzero(counts))


def evidence_doubts(name: str, table: VoteTable) -> Iterator[str]:
    """Yield a doubt if estimates over prompts rest on few of them."""
    weighted = np.unique(table.prompt_index[table.weight > 0]).size
    if weighted < FEW_CLUSTERS:
        yield (
            f"{name}: {len(table):,} votes on {weighted:,} prompts are too few to tell how much prompts differ "
            f"(expected {FEW_CLUSTERS} prompts or more)"
        )
