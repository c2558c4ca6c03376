"""Batches of votes for training: every optimizer step takes the next votes in order, whatever its micro-batches are.

Within one step each prompt is encoded and run once for all its votes, prompts of similar length share a micro-batch,
and every rank gets the same number of micro-batches. The gradient of the step is that of the plain mean over its
votes. Every step has the same number of micro-batches, so that gradient accumulation is a constant of the trainer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from p2l.data.buffers import Buffer
from p2l.data.encoding import EncodedPrompts, PromptBatch
from p2l.data.packing import deal, pack_into, pack_within
from p2l.data.splits import by_time
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.options import check_choice, check_count, check_seed
from p2l.types import Battle

Shuffle = Literal["none", "time", "votes", "prompts"]


class VoteBatch(NamedTuple):
    """One micro-batch: its prompts, the votes on them, and the factor of their summed loss.

    ``scale`` makes the mean over micro-batches and ranks of ``scale * sum of losses`` the mean loss of the votes of
    the optimizer step.
    """

    prompts: PromptBatch
    battle: Battle
    outcome_shares: Float[Tensor, "votes 4"]
    weight: Float[Tensor, " votes"]
    scale: Float[Tensor, ""]


@dataclass(frozen=True)
class BatchPlan:
    """How votes are divided into steps and micro-batches.

    Attributes:
        batch_size: votes in an optimizer step, over all ranks (the published global batch).
        token_budget: most tokens, padding included, in a micro-batch; a longer prompt gets its own.
        shuffle: "none" keeps the order of the table (published: chronological), "time" sorts by its column
            ``timestamp``, "votes" draws votes at random each epoch, "prompts" draws prompts and keeps the votes of each
            together.
        seed: of the shuffle and the buffer; the order depends on the seed and the epoch alone.
        buffer: replays or delays past votes; needs ``shuffle`` "none" or "time". None disables it.
        packed: do not count padding, because the model runs without it (``P2LModel.packed``).
    """

    batch_size: int = 512
    token_budget: int = 16384
    shuffle: Shuffle = "none"
    seed: int = 42
    buffer: Buffer | None = None
    packed: bool = False

    def __post_init__(self) -> None:
        check_count("batching.batch_size", self.batch_size)
        check_count("batching.token_budget", self.token_budget)
        check_choice("batching.shuffle", self.shuffle, get_args(Shuffle))
        check_seed(self.seed)
        if self.buffer is not None and self.shuffle not in ("none", "time"):
            raise ConfigError(f"a buffer needs votes in order of time: shuffle=none or time; got {self.shuffle!r}")

    def steps(self, table: VoteTable) -> int:
        """Return the optimizer steps of an epoch; the last may have fewer votes."""
        num_fed = len(table) if self.buffer is None else self.buffer.num_fed(len(table), self.batch_size)
        return -(-num_fed // self.batch_size)

    def order(self, table: VoteTable, epoch: int) -> np.ndarray:
        """Return the positions of the votes in the order in which an epoch feeds them."""
        rng = np.random.default_rng((self.seed, epoch))
        if self.shuffle in ("none", "time"):
            arrived = by_time(table.frame) if self.shuffle == "time" else np.arange(len(table))
            return arrived if self.buffer is None else self.buffer.order(arrived, table, self.batch_size, rng)
        if self.shuffle == "votes":
            return rng.permutation(len(table))
        rank_of_prompt = rng.permutation(len(table.prompts))
        return np.argsort(rank_of_prompt[table.prompt_index], kind="stable")


class VoteLoader:
    """Iterate over the micro-batches of one rank; resume in mid-epoch from its state.

    Args:
        table: the votes.
        prompts: the encoded prompts of the table.
        plan: how votes are divided.
        rank, world_size: of data parallelism.
        epochs: number of epochs; every step gets as many micro-batches as the largest step of them needs.
    """

    def __init__(
        self,
        table: VoteTable,
        prompts: EncodedPrompts,
        plan: BatchPlan,
        *,
        rank: int = 0,
        world_size: int = 1,
        epochs: int = 1,
    ) -> None:
        self.table, self.prompts, self.plan = table, prompts, plan
        self.rank, self.world_size = rank, world_size
        self.steps = plan.steps(table)
        same_each_epoch = plan.shuffle in ("none", "time") and plan.buffer is None
        self.micro_batches = max(self._needed(epoch) for epoch in range(1 if same_each_epoch else max(1, epochs)))
        self._epoch = self._position = 0  # position counts micro-batches fed in this epoch

    def __len__(self) -> int:
        return self.steps * self.micro_batches

    def __iter__(self) -> Iterator[VoteBatch]:
        if self._position >= len(self):
            self._epoch, self._position = self._epoch + 1, 0
        order = self.plan.order(self.table, self._epoch)
        for step in range(self._position // self.micro_batches, self.steps):
            done = self._position % self.micro_batches
            for batch in self._step(order, step)[done:]:
                self._position += 1
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch, in optimizer steps; ``load_state_dict`` restores it."""
        step = self._position // self.micro_batches
        return {"epoch": self._epoch, "step": step, "micro_batches": self.micro_batches, "feeds": self._feeds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``. The devices and the token budget may have changed, the votes may not.

        Raises ``ConfigError`` if the table or the order of its votes differs from that of the state.
        """
        now = self._feeds()
        changed = [f"{name} {was} is now {now[name]}" for name, was in state["feeds"].items() if was != now[name]]
        if changed:
            raise ConfigError(f"cannot resume, {', '.join(changed)}; give the data and batching of the run")
        self._epoch, self._position = state["epoch"], state["step"] * self.micro_batches

    def _feeds(self) -> dict[str, Any]:
        """Return the settings that decide which votes a step gets."""
        plan = self.plan
        return {
            "training votes": len(self.table),
            "batch_size": plan.batch_size,
            "shuffle": plan.shuffle,
            "seed": plan.seed,
            "buffer": str(plan.buffer),
        }

    def _step(self, order: np.ndarray, step: int) -> list[VoteBatch]:
        votes = self._votes_of(order, step)
        unique, local = np.unique(self.table.prompt_index[votes], return_inverse=True)
        packed = pack_into(self.prompts.lengths[unique], self.micro_batches * self.world_size, packed=self.plan.packed)
        by_prompt = np.argsort(local, kind="stable")
        starts = np.searchsorted(local[by_prompt], np.arange(len(unique) + 1))
        return [
            self._batch(unique, batch, [votes[by_prompt[starts[p] : starts[p + 1]]] for p in batch], len(votes))
            for batch in deal(packed, self.world_size)[self.rank]
        ]

    def _batch(self, unique: np.ndarray, members: np.ndarray, votes: list[np.ndarray], num_votes: int) -> VoteBatch:
        # a rank without votes still runs the network once: it must take part in every exchange of gradients
        prompts = unique[members] if len(members) else unique[np.argmin(self.prompts.lengths[unique])][None]
        rows = np.concatenate(votes) if votes else np.zeros(0, dtype=np.int64)
        owner = np.repeat(np.arange(len(votes)), [len(v) for v in votes]).astype(np.int64)
        table = self.table
        battle = Battle(*(torch.from_numpy(x) for x in (owner, table.model_a[rows], table.model_b[rows])))
        scale = torch.tensor(self.micro_batches * self.world_size / num_votes, dtype=torch.float32)
        return VoteBatch(
            self.prompts.pad(prompts),
            battle,
            torch.from_numpy(table.outcome_shares[rows]),
            torch.from_numpy(table.weight[rows]),
            scale,
        )

    def _votes_of(self, order: np.ndarray, step: int) -> np.ndarray:
        return order[step * self.plan.batch_size : (step + 1) * self.plan.batch_size]

    def _needed(self, epoch: int) -> int:
        """Return the micro-batches a rank needs for the largest step of an epoch within the token budget."""
        order = self.plan.order(self.table, epoch)
        most = 1
        for step in range(self.steps):
            unique = np.unique(self.table.prompt_index[self._votes_of(order, step)])
            count = len(pack_within(self.prompts.lengths[unique], self.plan.token_budget, packed=self.plan.packed))
            most = max(most, -(-count // self.world_size))
        return most


class PromptLoader:
    """Iterate over every prompt once, in batches of similar length within the token budget, distributed over the ranks.

    All ranks get the same number of batches; the few repeated ones have the same ``prompt_index`` again. ``only`` are
    the prompts to feed, if not all. ``packed``: do not count padding.
    """

    def __init__(
        self,
        prompts: EncodedPrompts,
        *,
        only: np.ndarray | None = None,
        token_budget: int = 16384,
        packed: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.prompts = prompts
        only = np.arange(len(prompts)) if only is None else only
        batches = [only[batch] for batch in pack_within(prompts.lengths[only], token_budget, packed=packed)]
        batches += batches[-1:] * (-len(batches) % world_size)
        self.batches = deal(batches, world_size)[rank]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PromptBatch]:
        return (self.prompts.pad(batch) for batch in self.batches)
