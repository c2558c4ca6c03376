"""The prompts that a held-out table shares with the training votes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from p2l.data.vote_table import VoteTable


@dataclass(frozen=True)
class PromptOverlap:
    """How many held-out prompts, and votes on them, are trained on too; case and spaces do not count.

    >>> str(PromptOverlap(prompts=3, of_prompts=4, votes=10, of_votes=20))
    '3 of 4 prompts (50 % of the votes) are trained on too'
    """

    prompts: int
    of_prompts: int
    votes: int
    of_votes: int

    @classmethod
    def of(cls, train: VoteTable, held_out: VoteTable) -> "PromptOverlap":
        shared = are_among(held_out.prompts, train.prompts)
        return cls(int(shared.sum()), len(shared), int(shared[held_out.prompt_index].sum()), len(held_out))

    @property
    def share(self) -> float:
        """Share of the held-out votes, in [0, 1]."""
        return self.votes / self.of_votes if self.of_votes else 0.0

    def __str__(self) -> str:
        share = f"{100 * self.share:.0f} % of the votes"
        return f"{self.prompts:,} of {self.of_prompts:,} prompts ({share}) are trained on too"


def are_among(prompts: Sequence[tuple[str, ...]], others: Iterable[tuple[str, ...]]) -> Bool[np.ndarray, " prompts"]:
    """Mark the prompts that are among the others, too; case and spaces do not count."""
    keys = list(map(_key, prompts))
    asked = set(keys)
    shared = {key for key in map(_key, others) if key in asked}  # the others may be many
    return np.array([key in shared for key in keys], dtype=bool)


def prompt_groups(prompts: Iterable[tuple[str, ...]]) -> Int64[np.ndarray, " prompts"]:
    """Number the prompts in order of appearance; those that differ only in case and spaces share a number."""
    hashes = np.fromiter((hash(_key(prompt)) for prompt in prompts), dtype=np.int64)  # short, unlike many prompts
    return pd.factorize(hashes)[0].astype(np.int64)


def _key(prompt: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(turn.split()).casefold() for turn in prompt)
