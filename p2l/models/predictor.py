"""Rank prompts in one call, or through a predictor that stays loaded."""

from collections.abc import Sequence
from typing import cast, get_args

import numpy as np
import torch
from torch import nn

from p2l.cost_facts import CostFacts
from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.prompt_encoder import Prompt
from p2l.data.prompt_input import ManyPrompts, read_prompts
from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.models.batch_ranking import (
    TOKEN_BUDGET,
    no_ranking,
    pad,
    rank_batch,
    rank_encoded,
    rank_in_batches,
)
from p2l.models.checkpoint import Checkpoint
from p2l.models.fingerprint import fingerprint
from p2l.models.prefix_cache import PrefixCache
from p2l.models.prompt_states import WARM_UP, PromptStates, backend_states, states_without_padding
from p2l.models.row_decoder import RowDecoder
from p2l.options import check_choice
from p2l.outcomes import OutcomeFamily
from p2l.types import Backend, Ranking


def fastest_device(backend: Backend = "torch") -> str:
    """Return "cuda" if there is a GPU and the backend runs on one, else "cpu"."""
    return "cuda" if backend == "torch" and torch.cuda.is_available() else "cpu"


class Predictor:
    """A checkpoint on its device, ready to rank: what servers hold. ``Checkpoint.rank`` is for a few calls.

    ``encode`` and ``forward`` are the two halves of ``rank``, for a caller that runs them on different threads. Each
    may be called from several threads at a time. On a CPU, decoders of the Llama kind and encoders of the BERT kind run
    without padding (``RowDecoder``, ``RowEncoder``), so that batches need not be of similar length.

    Args:
        checkpoint: from ``load_checkpoint``.
        device: on which the network runs; it is moved to it.
        compiled: through ``torch.compile`` (a C++ compiler on CPU, Triton on GPU); the first calls take a minute.
        backend: what computes the hidden states; ``openvino`` (extra of that name) runs encoders on a CPU, in the
            precision of the checkpoint's weights, and ``openvino-int8`` in 8 bits.

    Attributes:
        backend_difference: largest difference of a coefficient from torch's (nats), measured at load; 0 with torch.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "cpu", compiled: bool = False, backend: Backend = "torch"
    ) -> None:
        self.encoder = checkpoint.encoder
        self.models = checkpoint.models
        self.warning = checkpoint.warning
        self.groups = checkpoint.groups
        self.device = torch.device(device)
        self.network: nn.Module = checkpoint.model.to(self.device).eval()
        self.family: OutcomeFamily = checkpoint.family
        self._head, self._own = checkpoint.model.head, checkpoint.model
        self.compiled = compiled
        self.backend, self.backend_difference = backend, 0.0
        self._states: PromptStates | None = None
        check_choice("backend", backend, get_args(Backend))
        if backend != "torch":
            if compiled or self.device.type != "cpu":
                raise ConfigError(f"backend={backend} runs on a CPU, not compiled; got {device}, compiled={compiled}")
            self._states, self.backend_difference = backend_states(checkpoint, backend)
        elif not compiled and self.device.type == "cpu":
            self._states = states_without_padding(checkpoint)
        if compiled:
            # dynamic: one program for all lengths
            self.network = cast(nn.Module, torch.compile(self.network, dynamic=True))

    @property
    def cost_facts(self) -> CostFacts | None:
        """What is known about the predicted costs; None if the checkpoint predicts none."""
        return None if self._head.cost_head is None else self._head.cost_head.facts(self.models)

    @property
    def posterior(self) -> HeadPosterior | None:
        """As in ``Checkpoint``."""
        return None if self._head.posterior_head is None else self._head.posterior_head.posterior

    @property
    def pads(self) -> bool:
        """Whether the prompts of a batch are padded to the longest."""
        return self._states is None

    @property
    def keeps_prefixes(self) -> bool:
        """Whether ``forward`` can skip the beginnings of prompts that came before: decoders without padding can."""
        return isinstance(self._states, RowDecoder)

    def encode(self, prompts: Sequence[Prompt]) -> EncodedPrompts:
        """Return the token ids of each prompt; PromptError if one is not a string or a non-empty list of strings."""
        return encode_prompts(self.encoder, prompts, progress=False)

    def forward(self, ids: Sequence[np.ndarray], prefixes: PrefixCache | None = None) -> Ranking:
        """Return the ranking of each encoded prompt, in one batch; float32 on the CPU.

        ``prefixes``: skips what it holds of their beginnings, if ``keeps_prefixes``. Use one for one predictor.
        """
        if self._states is not None:
            with torch.inference_mode():
                if isinstance(self._states, RowDecoder):
                    return self._head(self._states(ids, prefixes))
                return self._head(self._states(ids))
        return rank_batch(self.network, pad(ids, self.encoder.pad_token_id), self.device)

    def num_cached(self, ids: np.ndarray, prefixes: PrefixCache) -> int:
        """Return how many tokens of an encoded prompt ``forward`` would skip now."""
        return self._states.num_cached(ids, prefixes) if isinstance(self._states, RowDecoder) else 0

    def rank(self, prompts: Sequence[Prompt], *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """Return the ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,) or None."""
        if not prompts:
            return no_ranking(len(self.models), self.family)
        return self.rank_encoded(self.encode(prompts), token_budget=token_budget)

    def rank_encoded(self, prompts: EncodedPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
        """Return the ranking of each encoded prompt, at least one."""
        return rank_in_batches(
            lambda batch: self.forward([prompts[i] for i in batch]), prompts, token_budget, packed=not self.pads
        )

    def fingerprint(self) -> str:
        """Return a digest of the model and its backend, the same for each copy of a checkpoint; reads all weights."""
        kind = self.family.name if self.backend == "torch" else f"{self.family.name} {self.backend}"
        return fingerprint(self._own, self.encoder, self.models, kind)

    def warm_up(self) -> None:
        """Run the slow first calls now, which choose kernels, allocate memory and compile programs."""
        for prompts in WARM_UP:
            self.rank(prompts)


def predict(checkpoint: Checkpoint, prompts: str | ManyPrompts, *, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """Return the ranking of each prompt, in their order: coefs (prompts, models) and eta (prompts,), float32, CPU.

    ``Checkpoint.rank`` gives the same as leaderboards, but refuses empty prompts, which a warning counts here. Raises
    ``PromptError`` as ``p2l.data.read_prompts`` does.
    """
    turns = read_prompts(prompts, allow_empty=True)
    if not turns:
        return no_ranking(len(checkpoint.models), checkpoint.family)
    return rank_encoded(checkpoint.model, encode_prompts(checkpoint.encoder, turns), token_budget=token_budget)
