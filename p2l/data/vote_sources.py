"""Load training, validation and test votes from files, folders and hub datasets."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from p2l.data.splits import SplitBy, keep_prompts, split_votes
from p2l.data.vote_table import VoteTable, load_votes
from p2l.data.winner_labels import WinnerMap
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VoteSplits:
    """Vote tables over one list of models."""

    train: VoteTable
    val: VoteTable | None = None
    test: VoteTable | None = None

    def get(self, split: str) -> VoteTable | None:
        return dict(self.items()).get(split)

    def items(self) -> Iterator[tuple[str, VoteTable]]:
        """Iterate over the tables that exist, by name."""
        named = (("train", self.train), ("val", self.val), ("test", self.test))
        return ((name, table) for name, table in named if table is not None)

    def with_evidence_for(self, family: OutcomeFamily) -> "VoteSplits":
        """Drop the votes without evidence in ``family`` (ties under "bt"), and log their number."""
        return VoteSplits(**{name: _with_evidence(name, table, family) for name, table in self.items()})


@dataclass(frozen=True)
class FileVotes:
    """Load votes from local files or hub datasets, in any format that ``p2l.data.adapters`` knows.

    Attributes:
        train, val, test: file, folder or hub dataset.
        split, val_split, test_split: split of each, if it is a hub dataset or a saved DatasetDict.
        val_share: share of the training votes held out for validation if ``val`` is not given; 0 for none.
        split_by: how they are held out: time, random, prompt or conversation.
        train_share: share of the prompts to train on, drawn by ``seed``; a smaller one is a part of a larger one.
        max_skipped_share: largest share of invalid rows that is reported instead of raised.
        columns: names in the tables of some columns: {prompt: question}.
        winner_map: outcomes of further labels of winners: {first: model_a, skipped: null}; null leaves votes out.
        seed: of a random split or share.
    """

    train: str
    val: str | None = None
    test: str | None = None
    split: str = "train"
    val_split: str = "train"
    test_split: str = "train"
    val_share: float = 0.0
    split_by: SplitBy = "time"
    train_share: float = 1.0
    max_skipped_share: float = 0.05
    seed: int = 0
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None

    def load(self) -> VoteSplits:
        """Read, validate and split; log skipped rows. DataError if too many rows are invalid."""
        train = self._read("train", self.train, self.split, None)
        val = None
        if self.val is not None:
            val = self._read("val", self.val, self.val_split, train.models)
        elif self.val_share > 0:
            train, val = split_votes(train, self.val_share, self.split_by, self.seed)
        test = None if self.test is None else self._read("test", self.test, self.test_split, train.models)
        if self.train_share != 1:
            train = keep_prompts(train, self.train_share, self.seed)
            log.info("trained on: %s votes on %s prompts", f"{len(train):,}", f"{len(train.prompts):,}")
        return VoteSplits(train, val, test)

    def _read(self, name: str, source: str, split: str, models: tuple[str, ...] | None) -> VoteTable:
        table, report = load_votes(
            source,
            split=split,
            models=models,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
        )
        log.info("%s votes from %s: %s", name, source, report)
        return table


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
