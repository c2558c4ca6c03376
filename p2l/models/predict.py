"""Rank prompts in batches: in one call, or through a predictor that stays loaded."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import nn

from p2l.data.encoding import EncodedPrompts, PromptBatch, encode_prompts
from p2l.data.packing import pack_within
from p2l.data.prompt_encoder import Prompt
from p2l.models.checkpoint import Checkpoint
from p2l.models.row_decoder import RowDecoder, runs_in_rows
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)

TOKEN_BUDGET = 16384
# shapes that cover what a compiler treats apart: one prompt, several of one length, several padded ones
WARM_UP = (("hi",), ("hi", "hi"), ("hi", "a prompt of several words", "hi " * 100))
# The row decoder may differ from the backbone by so much of a state's length: bfloat16 rounds to 1/256 in every layer.
SAME_STATE = 0.05


class Predictor:
    """A checkpoint on its device, ready to score: what the server, the router and the page hold.

    ``encode`` and ``forward`` are the two halves of ``rank``, for a caller that runs them on threads of their own;
    each may be called from any thread, and from several at a time. On a CPU, decoders of the Llama kind run without
    padding (``RowDecoder``), so that batches need not be of like length.

    Args:
        checkpoint: as ``load_checkpoint`` gives it.
        device: where the network runs; it is moved there.
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
        """Token ids of each prompt; PromptError if one is not a string or a non-empty list of strings."""
        return encode_prompts(self.encoder, prompts, progress=False)

    def forward(self, ids: Sequence[np.ndarray]) -> Ranking:
        """The ranking of each encoded prompt, in one batch; float32 on the CPU."""
        if self._rows is not None:
            with torch.inference_mode():
                return self._head(self._rows(ids))
        return rank_batch(self.network, pad(ids, self.encoder.pad_token_id), self.device)

    def rank(self, prompts: Sequence[Prompt], *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """The ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,) or None."""
        if not prompts:
            return _no_ranking(len(self.models), self.family)
        return self.rank_encoded(self.encode(prompts), token_budget=token_budget)

    def rank_encoded(self, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """The ranking of each encoded prompt, of which there must be one."""
        return _rank_in_batches(lambda batch: self.forward([prompts[i] for i in batch]), prompts, token_budget)

    def warm_up(self) -> None:
        """Pay now what the first calls cost: kernels chosen, memory taken, programs compiled."""
        for prompts in WARM_UP:
            self.rank(prompts)


def predict(checkpoint: Checkpoint, prompts: Sequence[Prompt], *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """The ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,), float32 on the CPU.

    PromptError if one of them is not a string or a non-empty list of strings.
    """
    if not prompts:
        return _no_ranking(len(checkpoint.models), checkpoint.family)
    return rank_encoded(checkpoint.model, encode_prompts(checkpoint.encoder, prompts), token_budget=token_budget)


def rank_encoded(model: nn.Module, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """The ranking of each encoded prompt, of which there must be one; ``model`` runs in evaluation mode."""
    device = next(model.parameters()).device
    with evaluating(model):
        return _rank_in_batches(lambda batch: rank_batch(model, prompts.pad(batch), device), prompts, token_budget)


def _rank_in_batches(rank: Callable[[np.ndarray], Ranking], prompts: EncodedPrompts, token_budget: int) -> Ranking:
    """``rank`` gets the indices of prompts of like length; the rankings are in the order of the prompts."""
    batches = pack_within(prompts.lengths, token_budget)
    rankings = [rank(batch) for batch in batches]
    back = torch.from_numpy(np.argsort(np.concatenate(batches)))
    eta = [ranking.eta for ranking in rankings if ranking.eta is not None]
    return Ranking(torch.cat([ranking.coefs for ranking in rankings])[back], torch.cat(eta)[back] if eta else None)


def row_decoder(checkpoint: Checkpoint) -> RowDecoder | None:
    """One that finds the states that the network finds, if the network is of the kind, on the CPU; else None."""
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
            "%s is run with padding: without, its states differ by %.1g", network.model.config.model_type, difference
        )
        return None
    return rows


@torch.inference_mode()
def rank_batch(model: nn.Module, batch: PromptBatch, device: torch.device) -> Ranking:
    """The ranking of each prompt of one batch, on the CPU."""
    ranking = model(batch.input_ids.to(device), batch.attention_mask.to(device))
    return ranking.map(lambda x: x.cpu())


def pad(ids: Sequence[np.ndarray], pad_token_id: int) -> PromptBatch:
    """Encoded prompts as one batch."""
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in ids], dtype=np.int64)))
    return EncodedPrompts(np.concatenate(ids), offsets, pad_token_id).pad(np.arange(len(ids)))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and then for each part the mode it was in: a frozen backbone trains in evaluation mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _no_ranking(num_models: int, family: OutcomeFamily) -> Ranking:
    return Ranking(torch.zeros(0, num_models), torch.zeros(0) if family.num_eta else None)
