"""The votes of each category of a leaderboard: rows of a table in memory, or counts of a table read in blocks."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from p2l.commands.ray_shards import each_on_ray
from p2l.data.battle_counts import BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import BattleTable, CheckedBattles, check_weight, convert_battles
from p2l.data.categories import Category
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table, text_columns
from p2l.data.repeated_votes import repeated_battles
from p2l.data.table_blocks import BlockedTable
from p2l.data.vote_checks import repeat_doubts
from p2l.data.vote_frame import read_vote_frame
from p2l.data.winner_labels import WinnerMap
from p2l.errors import ConfigError, DataError
from p2l.leaderboard.vote_counts import hard_counts
from p2l.options import check_choice, check_count

log = logging.getLogger(__name__)

Stream = str | bool  # auto, true, false
_BYTES_A_VOTE = 150  # of a table without prompts in memory, with the arrays of its checks
_EVERYTHING = Category("")


@dataclass(frozen=True)
class LeaderboardVotes:
    """All votes, and those of each category by name, or why it has none; these are made one at a time."""

    all: BattleTable | BattleCounts
    by_category: Iterable[tuple[str, CheckedBattles | BattleCounts | DataError]]


@dataclass(frozen=True)
class LeaderboardSource:
    """Where the votes are, and what the leaderboards need of them.

    Attributes:
        votes, split, max_skipped_share, columns, winner_map: as in ``p2l.data.FileVotes``.
        stream: true counts the votes in blocks, false reads the table whole; auto counts large tables.
        each_vote: options that need each vote, if any are given: covariates, clusters.
        redrawn: whether votes are resampled or divided into folds.
        engine, workers: ``ray`` counts each file of the table in one of so many processes of a Ray cluster.
    """

    votes: str
    split: str
    max_skipped_share: float
    columns: Mapping[str, str] | None
    winner_map: WinnerMap | None
    stream: Stream
    each_vote: Sequence[str]
    redrawn: bool
    engine: str = "local"
    workers: int = 2

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ("local", "ray"))
        check_count("workers", self.workers)
        check_choice("stream", str(self.stream).lower(), ("auto", "true", "false"))
        if self.engine == "ray" and self.stream is False:
            raise ConfigError("engine=ray counts votes; leave out stream=false, which reads the table whole")

    @property
    def _requires_counts(self) -> str | None:
        """The option that requires counting."""
        return "engine=ray" if self.engine == "ray" else "stream=true" if self.stream is True else None

    def load(self, categories: Sequence[Category]) -> LeaderboardVotes:
        """Read or count the votes; log what was skipped. DataError if too many rows are invalid."""
        table = self._table_to_count()
        if table is not None:
            try:
                return self._count(table, categories)
            except NeedsEachVoteError as reason:
                if self._requires_counts:
                    raise
                log.info("%s", reason)
        return self._read(categories)

    def _table_to_count(self) -> BlockedTable | None:
        if self.stream is False:
            return None
        table = blocked_table(self.votes, self.split, text=text_columns(self.columns))
        if self._requires_counts:
            if self.each_vote:
                raise ConfigError(
                    f"{self._requires_counts} counts votes, and {', '.join(self.each_vote)} needs each vote; leave it "
                    "out, or read the table whole (engine=local stream=false)"
                )
            if table is None:
                raise ConfigError(
                    f"{self._requires_counts} reads parquet and JSON-lines files, folders, patterns and URLs of these; "
                    f"there is none at {self.votes}"
                )
        elif table is None or not table.is_large:
            return None
        elif self.each_vote:
            size = "" if table.rows is None else f": about {table.rows * _BYTES_A_VOTE / 1e9:.0f} GB"
            log.warning("%s needs each vote, so that the table is read whole%s", ", ".join(self.each_vote), size)
            return None
        return table

    def _count(self, table: BlockedTable, categories: Sequence[Category]) -> LeaderboardVotes:
        found, report = count_battles(
            table,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
            categories=(_EVERYTHING, *categories),
            each=self._on_ray if self.engine == "ray" else None,
        )
        log.info("%s, counted in blocks: %s", self.votes, report)
        counts = found.pop(_EVERYTHING.name)
        assert isinstance(counts, BattleCounts)
        if self.redrawn:
            hard_counts(counts, "a bootstrap or cross-validation")
        return LeaderboardVotes(counts, found.items())

    def _on_ray(self, function: Callable[[Any], Any], tables: Sequence[BlockedTable]) -> Iterator[Any]:
        return each_on_ray(partial(_itself, function), tables, workers=self.workers)

    def _read(self, categories: Sequence[Category]) -> LeaderboardVotes:
        # before rows are left out: labels point into the whole table
        frame = read_vote_frame(self.votes, self.split, columns=self.columns, winner_map=self.winner_map)
        battles, report = convert_battles(frame, str(self.votes), None, self.max_skipped_share)
        log.info("%s: %s", self.votes, report)
        checked = CheckedBattles(battles, frame.iloc[report.kept_rows()].reset_index(drop=True))
        for doubt in repeat_doubts(self.votes, int(repeated_battles(battles, checked.frame).sum()), len(battles)):
            log.warning("%s", doubt)
        return LeaderboardVotes(battles, ((category.name, _rows_of(category, checked)) for category in categories))


def _itself(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return function


def _rows_of(category: Category, votes: CheckedBattles) -> CheckedBattles | DataError:
    try:
        rows = np.flatnonzero(category.rows(votes.frame))
        if not len(rows):
            return DataError("no vote is in it")
        battles = votes.battles.of_rows(rows)
        check_weight(float(battles.weight.sum(dtype=np.float64)), f"category {category.name}")
    except DataError as reason:
        return reason
    return CheckedBattles(battles, votes.frame.iloc[rows])
