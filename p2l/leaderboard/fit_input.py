"""The votes of a fit, from a table or a file, and columns with a value for each vote."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Int64

from p2l.data.battle_counts import BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import BattleTable, CheckedBattles, load_battles
from p2l.data.count_battles import count_battles
from p2l.data.group_ids import GroupIds
from p2l.data.readers import TableSource, blocked_table, read_table
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.leaderboard.vote_clusters import vote_clusters

log = logging.getLogger(__name__)

Votes: TypeAlias = BattleTable | BattleCounts | VoteTable | CheckedBattles | TableSource
Column: TypeAlias = Sequence[object] | np.ndarray | pd.Series


@dataclass(frozen=True)
class VoteColumns:
    """The columns of a table whose rows ``kept`` are the votes."""

    frame: pd.DataFrame
    kept: Int64[np.ndarray, " votes"]

    def get(self, column: Column | str) -> np.ndarray:
        """Return a value for each vote: of a named column, or of values for all rows or for the votes."""
        if isinstance(column, str):
            if column not in self.frame.columns:
                raise DataError(
                    f"no column {column!r}; the table has {', '.join(map(str, self.frame.columns)) or 'none'}"
                )
            column = self.frame[column]
        values = np.asarray(pd.Series(column))  # of lists: an array of them, not one of two dimensions
        if len(values) == len(self.kept):
            return values
        if len(values) == len(self.frame):
            return values[self.kept]
        raise DataError(f"expected a value for each of the {len(self.kept):,} votes; got {len(values):,}")

    def clusters(self, column: Column | str) -> GroupIds:
        return vote_clusters(self.get(column), column if isinstance(column, str) else "cluster")


def _counted_if_large(votes: Votes, bootstrap: int) -> Votes:
    """Return the counts of the votes in large files; other votes as they are."""
    table = blocked_table(votes)
    if table is None or not table.is_large:
        return votes
    try:
        counts, report = count_battles(table)
    except NeedsEachVoteError:
        return votes
    found = counts["all"]
    if isinstance(found, DataError) or (bootstrap and found.hard is None):
        return votes
    if report.counts:
        log.warning("%s", report)
    return found


def read_fit_votes(votes: Votes, bootstrap: int, *, each_vote: bool) -> tuple[BattleTable | BattleCounts, VoteColumns]:
    if not each_vote:
        votes = _counted_if_large(votes, bootstrap)
    elif isinstance(votes, BattleCounts):
        raise DataError("counts of votes have no clusters and covariates: these need each vote; give the table itself")
    if isinstance(votes, BattleCounts):
        return votes, VoteColumns(pd.DataFrame(), np.zeros(0, dtype=np.int64))
    if isinstance(votes, BattleTable):
        votes = CheckedBattles(votes, pd.DataFrame(index=range(len(votes))))
    if isinstance(votes, (VoteTable, CheckedBattles)):
        return votes.battles, VoteColumns(votes.frame, np.arange(len(votes.battles)))
    frame = read_table(votes)
    battles, report = load_battles(frame)
    if report.skipped:
        log.warning("%s", report)
    return battles, VoteColumns(frame, report.kept_rows())
