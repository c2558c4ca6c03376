"""Load training, validation and test votes from files, folders and hub datasets."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from p2l.data.large_votes import in_memory, large_table, load_large_votes
from p2l.data.skip_report import SkipCounts, SkipReport
from p2l.data.splits import SplitBy, chosen_split, conversations, keep_prompts, order_of_file, split_votes
from p2l.data.stored_prompts import StoredPrompts
from p2l.data.vote_checks import BY_PROMPT, one_line, warn_of_doubts
from p2l.data.vote_table import VoteTable, load_votes
from p2l.data.winner_labels import WinnerMap
from p2l.files import cache_folder, check_folder_to_write
from p2l.options import check_choice, check_number, check_seed, check_share

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VoteSplits:
    """Vote tables over one list of models; ``advice`` says how to hold out prompts that are not trained on."""

    train: VoteTable
    val: VoteTable | None = None
    test: VoteTable | None = None
    advice: str = field(default=BY_PROMPT, kw_only=True)

    def get(self, split: str) -> VoteTable | None:
        return dict(self.items()).get(split)

    def items(self) -> Iterator[tuple[str, VoteTable]]:
        """Iterate over the tables that exist, by name."""
        named = (("train", self.train), ("val", self.val), ("test", self.test))
        return ((name, table) for name, table in named if table is not None)


@dataclass(frozen=True)
class FileVotes:
    """Load votes from local files or hub datasets, in any format that ``p2l.data.adapters`` knows.

    Attributes:
        train, val, test: file, folder or hub dataset.
        split, val_split, test_split: split of each, if it is a hub dataset or a saved DatasetDict.
        val_share: share of the training votes held out for validation if ``val`` is not given; 0 for none.
        split_by: how they are held out: auto, time, random, prompt or conversation; see ``split_votes``.
        train_share: share of the prompts to train on, drawn by ``seed``; a smaller one is a part of a larger one.
        max_skipped_share: largest share of invalid rows that is reported instead of raised.
        columns: names in the tables of some columns: {prompt: question}.
        winner_map: outcomes of further labels of winners: {first: model_a, skipped: null}; null leaves votes out.
        seed: of a random split or share.
        cache_dir: folder for the prompts of large tables and their token ids; ``votes`` in ``$P2L_CACHE`` if null.
    """

    train: str
    val: str | None = None
    test: str | None = None
    split: str = "train"
    val_split: str = "train"
    test_split: str = "train"
    val_share: float = 0.0
    split_by: SplitBy = "auto"
    train_share: float = 1.0
    max_skipped_share: float = 0.05
    seed: int = 0
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        check_share("data.max_skipped_share", self.max_skipped_share)
        check_number("data.train_share", self.train_share, above=0)
        check_share("data.train_share", self.train_share)
        check_share("data.val_share", self.val_share)
        check_choice("data.split_by", self.split_by, get_args(SplitBy))
        check_seed(self.seed)

    def load(self) -> VoteSplits:
        """Read, validate and split; log skipped rows, a summary and doubts. DataError if too many rows are invalid."""
        train = self._read("train", self.train, self.split, None)
        val = None
        if self.val is not None:
            val = self._read("val", self.val, self.val_split, train.models)
        elif self.val_share > 0:
            train, val = self._split(train)
        test = None if self.test is None else self._read("test", self.test, self.test_split, train.models)
        if self.train_share != 1:
            train = keep_prompts(train, self.train_share, self.seed)
            log.info("trained on: %s votes on %s prompts", f"{len(train):,}", f"{len(train.prompts):,}")
        splits = VoteSplits(train, val, test)
        _describe(splits)
        return splits

    def _split(self, table: VoteTable) -> tuple[VoteTable, VoteTable]:
        by = chosen_split(table, self.val_share) if self.split_by == "auto" else self.split_by
        if self.split_by == "auto":
            why = "most of the latest votes are on prompts of earlier ones" if by == "prompt" else "the latest votes"
            log.info("held out by %s (%s); data.split_by=... takes another way", by, why)
        if by == "time" and (order := order_of_file(table.frame)):
            log.info("%s", order)
        train, val = split_votes(table, self.val_share, by, self.seed)
        if by == "conversation" and (doubt := conversations(table).largest_doubt()):
            log.warning("%s", doubt)
        return train, in_memory(val) if isinstance(val.prompts, StoredPrompts) else val

    def _read(self, name: str, source: str, split: str, models: tuple[str, ...] | None) -> VoteTable:
        options: dict[str, Any] = {
            "models": models,
            "max_skipped_share": self.max_skipped_share,
            "columns": self.columns,
            "winner_map": self.winner_map,
        }
        table: VoteTable
        report: SkipReport | SkipCounts
        large = large_table(source, split, self.columns) if name == "train" else None
        if large is not None:
            folder = Path(self.cache_dir).expanduser() if self.cache_dir else cache_folder() / "votes"
            check_folder_to_write("data.cache_dir", folder)
            table, report = load_large_votes(large, folder, **options)
        else:
            table, report = load_votes(source, split=split, **options)
        log.info("%s votes from %s: %s", name, source, report)
        return table


def _describe(splits: VoteSplits) -> None:
    """Log each table in a line, and what is doubtful; ``p2l validate`` shows more."""
    tables = dict(splits.items())
    for name, table in tables.items():
        log.info("%s: %s", name, one_line(table))
    warn_of_doubts(tables)
