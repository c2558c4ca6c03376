"""Rank prompts in one call, or through a predictor that stays loaded."""

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.prompt_encoder import Prompt
from p2l.data.prompt_input import ManyPrompts, read_prompts
from p2l.models.batch_ranking import (
    TOKEN_BUDGET,
    evaluating,
    no_ranking,
    pad,
    rank_batch,
    rank_encoded,
    rank_in_batches,
)
from p2l.models.checkpoint import Checkpoint
from p2l.models.row_decoder import RowDecoder, runs_in_rows
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)

# shapes that a compiler treats differently: one prompt, several of one length, several padded ones
WARM_UP = (("hi",), ("hi", "hi"), ("hi", "a prompt of several words", "hi " * 100))
# Largest difference between row decoder and backbone, as a share of a state's norm: bfloat16 rounds to 1/256 a layer.
SAME_STATE = 0.05


class Predictor:
    """A checkpoint on its device, ready to rank: what servers hold. ``Checkpoint.rank`` is for a few calls.

    ``encode`` and ``forward`` are the two halves of ``rank``, for a caller that runs them on different threads. Each
    may be called from several threads at a time. On a CPU, decoders of the Llama kind run without padding
    (``RowDecoder``), so that batches need not be of similar length.

    Args:
        checkpoint: from ``load_checkpoint``.
        device: on which the network runs; it is moved to it.
        compiled: through ``torch.compile`` (a C++ compiler on CPU, Triton on GPU); the first calls take a minute.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu", compiled: bool = False) -> None:
        self.encoder = checkpoint.encoder
        self.models = checkpoint.models
        self.device = torch.device(device)
        self.network: nn.Module = checkpoint.model.to(self.device).eval()
        self.family: OutcomeFamily = checkpoint.family
        self._head = checkpoint.model.head
        self._rows = None if compiled or self.device.type != "cpu" else row_decoder(checkpoint)
        if compiled:
            # dynamic: one program for all lengths
            self.network = cast(nn.Module, torch.compile(self.network, dynamic=True))

    @property
    def pads(self) -> bool:
        """Whether the prompts of a batch are padded to the longest."""
        return self._rows is None

    def encode(self, prompts: Sequence[Prompt]) -> EncodedPrompts:
        """Return the token ids of each prompt; PromptError if one is not a string or a non-empty list of strings."""
        return encode_prompts(self.encoder, prompts, progress=False)

    def forward(self, ids: Sequence[np.ndarray]) -> Ranking:
        """Return the ranking of each encoded prompt, in one batch; float32 on the CPU."""
        if self._rows is not None:
            with torch.inference_mode():
                return self._head(self._rows(ids))
        return rank_batch(self.network, pad(ids, self.encoder.pad_token_id), self.device)

    def rank(self, prompts: Sequence[Prompt], *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """Return the ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,) or None."""
        if not prompts:
            return no_ranking(len(self.models), self.family)
        return self.rank_encoded(self.encode(prompts), token_budget=token_budget)

    def rank_encoded(self, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """Return the ranking of each encoded prompt, at least one."""
        return rank_in_batches(lambda batch: self.forward([prompts[i] for i in batch]), prompts, token_budget)

    def warm_up(self) -> None:
        """Run the slow first calls now, which choose kernels, allocate memory and compile programs."""
        for prompts in WARM_UP:
            self.rank(prompts)


def predict(checkpoint: Checkpoint, prompts: str | ManyPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """Return the ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,), float32, CPU.

    ``Checkpoint.rank`` gives the same as leaderboards. Raises ``PromptError`` as ``p2l.data.read_prompts`` does.
    """
    turns = read_prompts(prompts)
    if not turns:
        return no_ranking(len(checkpoint.models), checkpoint.family)
    return rank_encoded(checkpoint.model, encode_prompts(checkpoint.encoder, turns), token_budget=token_budget)


def row_decoder(checkpoint: Checkpoint) -> RowDecoder | None:
    """Return a row decoder whose states agree with the network's, if it supports the network; else None."""
    network, encoder = checkpoint.model, checkpoint.encoder
    at_end = network.readout == "cls" and encoder.format.cls_position == "end"
    if not at_end or not runs_in_rows(network.model, encoder.format.max_length):
        return None
    rows = RowDecoder(network.model, encoder.opening(), encoder.format.max_length)
    ids = [np.asarray(prompt) for prompt in encoder.encode_batch(WARM_UP[-1])]
    batch = pad(ids, encoder.pad_token_id)
    with torch.inference_mode(), evaluating(network):
        expected, found = network.hidden(batch.input_ids, batch.attention_mask), rows(ids)
    difference = float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
    if not difference <= SAME_STATE:
        log.warning(
            "%s runs with padding: without it, the hidden states differ by %.1g",
            network.model.config.model_type,
            difference,
        )
        return None
    return rows
