"""The prompts that a held-out table shares with the training votes."""

from dataclasses import dataclass

import numpy as np

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
        keys = [_key(prompt) for prompt in held_out.prompts]
        tested = set(keys)
        trained = {key for key in map(_key, train.prompts) if key in tested}  # the training table may be large
        shared = np.array([key in trained for key in keys], dtype=bool)
        return cls(int(shared.sum()), len(shared), int(shared[held_out.prompt_index].sum()), len(held_out))

    @property
    def share(self) -> float:
        """Share of the held-out votes, in [0, 1]."""
        return self.votes / self.of_votes if self.of_votes else 0.0

    def __str__(self) -> str:
        share = f"{100 * self.share:.0f} % of the votes"
        return f"{self.prompts:,} of {self.of_prompts:,} prompts ({share}) are trained on too"


def _key(prompt: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(turn.split()).casefold() for turn in prompt)
