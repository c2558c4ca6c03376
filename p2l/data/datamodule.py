"""The LightningDataModule: reads votes, makes micro-batches and batches of prompts."""

import logging
from dataclasses import replace
from typing import Protocol, runtime_checkable

from lightning import LightningDataModule
from torch import Tensor

from p2l.data.batches import BatchPlan, PromptLoader, VoteLoader
from p2l.data.encoded_file import encode_table
from p2l.data.encoding import EncodedPrompts
from p2l.data.prompt_encoder import PromptEncoder
from p2l.data.splits import order_of_file
from p2l.data.vote_evidence import with_evidence
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily

log = logging.getLogger(__name__)

NOT_PREPARED = "prompts are not encoded yet; call prepare(encoder, family) first"


@runtime_checkable
class VoteSource(Protocol):
    """Loads vote tables: see ``p2l.data.vote_sources`` and ``p2l.data.simulated``."""

    def load(self) -> VoteSplits: ...


class VoteDataModule(LightningDataModule):
    """Read votes, encode each prompt once, and make the loaders of any strategy.

    Args:
        source: of the votes.
        plan: how training votes become optimizer steps and micro-batches.
        eval_token_budget: most tokens, padding included, in a validation batch.
        votes: what ``source.load()`` returned, if it was called already.
    """

    def __init__(
        self, source: VoteSource, plan: BatchPlan, *, eval_token_budget: int = 16384, votes: VoteSplits | None = None
    ) -> None:
        super().__init__()
        self.source, self.plan, self.eval_token_budget = source, plan, eval_token_budget
        self.epochs = 1  # ``train`` sets it from the trainer
        self.unbounded: tuple[str, ...] = ()  # models whose strength the training votes do not bound; ``train`` sets it
        self._votes = votes
        self._encoded: dict[str, EncodedPrompts] = {}
        self._encoder: PromptEncoder | None = None

    @property
    def votes(self) -> VoteSplits:
        """Vote tables, read on first use."""
        if self._votes is None:
            self._votes = self.source.load()
        return self._votes

    @property
    def encoder(self) -> PromptEncoder:
        """Prompt encoder given to ``prepare``."""
        if self._encoder is None:
            raise DataError(NOT_PREPARED)
        return self._encoder

    @property
    def models(self) -> tuple[str, ...]:
        """LLMs of the training votes, sorted: the list that the head ranks."""
        return self.votes.train.models

    def prepare(self, encoder: PromptEncoder, family: OutcomeFamily) -> None:
        """Encode all prompts for a model; drop votes that carry no evidence in ``family``."""
        self._encoder = encoder
        self._votes = with_evidence(self.votes, family)
        if self.plan.shuffle == "time" and (order := order_of_file(self._votes.train.frame)):
            log.warning("batching.shuffle=time: %s", order)
        self._encoded = {name: encode_table(encoder, table.prompts) for name, table in self.votes.items()}

    def table(self, split: str) -> VoteTable:
        """Return the votes of "train", "val" or "test"; DataError if there are none."""
        table = self.votes.get(split)
        if table is None:
            raise DataError(f"there are no {split} votes; give data.{split}")
        return table

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return self.plan.steps(self.table("train"))

    def micro_batches(self, world_size: int) -> int:
        """Return the micro-batches in each optimizer step of a rank: the trainer's ``accumulate_grad_batches``."""
        return self._train_loader(0, world_size).micro_batches

    def train_dataloader(self) -> VoteLoader:
        return self._train_loader(*self._place())

    def val_dataloader(self) -> PromptLoader:
        return self._prompt_loader("val")

    def test_dataloader(self) -> PromptLoader:
        return self._prompt_loader("test")

    def _train_loader(self, rank: int, world_size: int) -> VoteLoader:
        return VoteLoader(
            self.table("train"),
            self.prompts("train"),
            self.plan,
            rank=rank,
            world_size=world_size,
            epochs=self.epochs,
        )

    def _prompt_loader(self, split: str) -> PromptLoader:
        self.table(split)
        rank, world_size = self._place()
        return PromptLoader(
            self.prompts(split),
            token_budget=self.eval_token_budget,
            packed=self.plan.packed,
            rank=rank,
            world_size=world_size,
        )

    def prompts(self, split: str) -> EncodedPrompts:
        """Return the encoded prompts of a split; DataError before ``prepare``."""
        if not self._encoded:
            raise DataError(NOT_PREPARED)
        return self._encoded[split]

    def keep_states(self, split: str, states: Tensor) -> None:
        """Add the hidden states of a frozen backbone to all batches of a split."""
        self._encoded[split] = replace(self.prompts(split), states=states)

    def _place(self) -> tuple[int, int]:
        """Return the rank and the number of data-parallel ranks, as the trainer's strategy counts them."""
        if self.trainer is None:
            return 0, 1
        place = getattr(self.trainer.strategy, "distributed_sampler_kwargs", None) or {}
        return place.get("rank", 0), place.get("num_replicas", 1)
