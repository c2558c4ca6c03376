"""Split a vote table by time, at random, by prompt or by conversation; or keep a share of its prompts."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from p2l.data.group_ids import GroupIds
from p2l.data.prompt_overlap import prompt_groups
from p2l.data.timestamps import read_times
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError

SplitBy = Literal["auto", "time", "random", "prompt", "conversation"]
_MOSTLY_SHARED = 0.5  # share of held-out votes on trained prompts above which a split by time cannot test new prompts


def split_votes(table: VoteTable, share: float, by: SplitBy = "auto", seed: int = 0) -> tuple[VoteTable, VoteTable]:
    """Return the votes to train on and those held out, both in their order and with all ``models`` of the table.

    ``time`` holds out the last ``share`` of the votes by ``timestamp`` (numbers, or dates in ISO 8601), or, without
    that column, of the file; ``random`` a random ``share`` of the votes; ``prompt`` and ``conversation`` all the votes
    of a random ``share`` of the prompts or of the ``conversation_id``s, so that none is on both sides. Prompts that
    differ only in case and spaces are one. ``auto`` splits by time, or by prompt if more than half of the votes that
    time holds out are on prompts that are trained on too. Counts are rounded.

    Raises:
        ConfigError: a share outside (0, 1), or an unknown ``by``.
        DataError: a needed column is missing or has gaps, or a side would be empty.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the held-out share must lie between 0 and 1, got {share}")
    if by == "auto":
        by = chosen_split(table, share)
    held_out = _is_held_out(table, share, by, np.random.default_rng(seed))
    if held_out.all() or not held_out.any():
        side = "train on" if held_out.all() else "hold out"
        reason = _why_empty(_size(table, by), share, by)
        raise DataError(f"no vote is left to {side}: {share:.2%} of {len(table)} votes, split by {by}; {reason}")
    return table.select(np.flatnonzero(~held_out)), table.select(np.flatnonzero(held_out))


def _size(table: VoteTable, by: SplitBy) -> int:
    """Return how many things a split divides: votes, prompts or conversations."""
    if by == "conversation":
        return len(conversations(table).ids)
    return len(np.unique(_prompts(table))) if by == "prompt" else len(table)


def _why_empty(size: int, share: float, by: SplitBy) -> str:
    unit = {"prompt": "prompt", "conversation": "conversation"}.get(by, "vote")
    counted = f"{size:,} {unit}{'s' if size > 1 else ''}, and {round(share * size):,} of them would be held out"
    ways = [] if size == 1 else [f"another share (such as {round(size / 2) / size:.2f})"]
    ways += [] if unit == "vote" else ["another way to split, such as random"]
    return f"it has {counted}: give {' or '.join(ways) or 'more votes'}"


def chosen_split(table: VoteTable, share: float) -> SplitBy:
    """Return what ``auto`` stands for: "time", or "prompt"; see ``split_votes``."""
    held_out = _last(by_time(table.frame), share)
    prompts = _prompts(table)
    size = int(prompts.max()) + 1
    if not 0 < round(share * size) < size or not held_out.any():
        return "time"
    trained = np.isin(prompts[held_out], prompts[~held_out])
    return "prompt" if trained.mean() > _MOSTLY_SHARED else "time"


def keep_prompts(table: VoteTable, share: float, seed: int = 0) -> VoteTable:
    """Return all votes of a random ``share`` of the prompts, in their order and with all ``models`` of the table.

    With one seed, a smaller share is a part of every larger one. The count of prompts is rounded. Raises
    ``ConfigError`` for a share outside (0, 1], ``DataError`` if no prompt is left.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share of the training prompts must be above 0 and at most 1, got {share}")
    kept = _of_random_groups(table.prompt_index, share, np.random.default_rng(seed))
    if not kept.any():
        raise DataError(f"no vote is left to train on: {share:.2%} of {len(table.prompts)} prompts")
    return table.select(np.flatnonzero(kept))


def _is_held_out(
    table: VoteTable, share: float, by: SplitBy, generator: np.random.Generator
) -> Bool[np.ndarray, " votes"]:
    if by == "time":
        return _last(by_time(table.frame), share)
    if by == "random":
        return _last(generator.permutation(len(table)), share)
    if by == "prompt":
        return _of_random_groups(_prompts(table), share, generator)
    if by == "conversation":
        return _of_random_groups(conversations(table).codes, share, generator)
    raise ConfigError(f"cannot split by {by!r}; choose one of {', '.join(get_args(SplitBy))}")


def _prompts(table: VoteTable) -> Int64[np.ndarray, " votes"]:
    """Return the prompt of each vote, numbered; those that differ only in case and spaces are one."""
    return prompt_groups(table.prompts)[table.prompt_index]


def _last(order: Int64[np.ndarray, " votes"], share: float) -> Bool[np.ndarray, " votes"]:
    """Mark the rows that come last in an order of row numbers."""
    held_out = np.zeros(len(order), dtype=bool)
    held_out[order[len(order) - round(share * len(order)) :]] = True
    return held_out


def _of_random_groups(
    group: Int64[np.ndarray, " votes"], share: float, generator: np.random.Generator
) -> Bool[np.ndarray, " votes"]:
    """Mark all rows of a random share of the groups, which are numbered from 0 without gaps."""
    return _last(generator.permutation(int(group.max()) + 1), share)[group]


def order_of_file(frame: pd.DataFrame) -> str | None:
    """Say that the order of the file stands for time, if a table has no timestamps; else None."""
    if "timestamp" in frame.columns:
        return None
    return "the votes have no column timestamp, so that the order of the file stands for time"


def by_time(frame: pd.DataFrame) -> Int64[np.ndarray, " votes"]:
    """Return row numbers from the earliest vote to the latest; votes of one moment keep the order of the file."""
    if "timestamp" not in frame.columns:
        return np.arange(len(frame))
    times = read_times(frame["timestamp"])
    _check_no_gaps(np.flatnonzero(times.isna()), "timestamp")
    return np.argsort(times.to_numpy(), kind="stable")


def conversations(table: VoteTable) -> GroupIds:
    """Return the conversation of each vote; ``DataError`` if the table has none, or gaps."""
    if "conversation_id" not in table.frame.columns:
        names = ", ".join(map(str, table.frame.columns))
        raise DataError(f"no column conversation_id to split by; the columns are {names}")
    found = GroupIds.of(table.frame["conversation_id"], "conversation_id")
    _check_no_gaps(found.missing, "conversation_id")
    return found


def _check_no_gaps(gaps: Int64[np.ndarray, " gaps"], name: str) -> None:
    if gaps.size:
        raise DataError(
            f"{name} is missing or unreadable in {gaps.size} votes (the first: row {gaps[0]}); fill or drop it"
        )
