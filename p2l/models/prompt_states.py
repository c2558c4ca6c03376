"""The fastest way to the hidden states of prompts on a CPU, checked against the network's own."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from p2l.errors import CheckpointError, ConfigError
from p2l.extras import check_modules
from p2l.models.batch_ranking import evaluating, pad
from p2l.models.checkpoint import Checkpoint
from p2l.models.row_attention import ENCODERS, can_attend_within
from p2l.models.row_decoder import RowDecoder, runs_in_rows
from p2l.models.row_encoder import RowEncoder
from p2l.types import Backend

log = logging.getLogger(__name__)

# Maps encoded prompts, none empty, to the hidden state of each that the head reads; any number of threads may call it.
PromptStates = Callable[[Sequence[np.ndarray]], Tensor]

# shapes that a compiler treats differently: one prompt, several of one length, several padded ones
WARM_UP = (("hi",), ("hi", "hi"), ("hi", "a prompt of several words", "hi " * 100))
# Prompts whose states are compared: several of each length, so that a program for one size of batch is found out.
CHECKED = WARM_UP[-1] * 3
# Largest difference from the network's states, as a share of a state's norm: bfloat16 rounds to 1/256 a layer.
SAME_STATE = 0.05
# The same in 8 bits, beyond which the states are not those of the network.
NEAR_STATE = 0.3


def states_without_padding(checkpoint: Checkpoint) -> PromptStates | None:
    """Return what computes prompts in rows, if it supports the network and gives its states; else None."""
    rows = _rows(checkpoint)
    if rows is None:
        return None
    difference, _ = differences(checkpoint, rows)
    if difference <= SAME_STATE:
        return rows
    kind = checkpoint.model.model.config.model_type
    log.warning("%s runs with padding: without it, the hidden states differ by %.1g", kind, difference)
    return None


def backend_states(checkpoint: Checkpoint, backend: Backend) -> tuple[PromptStates, float]:
    """Return what computes states through a backend other than torch, and by how much its coefficients differ (nats).

    That is the largest difference from torch's on some prompts; it is logged.

    Raises:
        ConfigError: the backend is not installed, or does not run such a network.
        CheckpointError: its states are not those of the network.
    """
    check_modules(("openvino",), f"backend={backend}", "openvino")
    network, encoder = checkpoint.model, checkpoint.encoder
    if not can_attend_within(network.model):
        raise ConfigError(
            f"backend={backend} runs encoders with sdpa ({', '.join(sorted(ENCODERS))}); this checkpoint is a "
            f"{type(network.model).__name__}: give backend=torch"
        )
    from p2l.models.openvino_states import OpenVinoStates  # loads the library

    int8 = backend == "openvino-int8"
    states = OpenVinoStates(network, encoder.pad_token_id, encoder.format.max_length, int8=int8)
    (difference, coefs), limit = differences(checkpoint, states), NEAR_STATE if int8 else SAME_STATE
    if not difference <= limit:
        raise CheckpointError(
            f"backend={backend} gives hidden states that differ from torch's by {difference:.2g} of their norm, over "
            f"{limit}: give backend=torch"
        )
    log.info("backend %s in %s: coefficients differ from torch's by up to %.1g nats", backend, states.precision, coefs)
    return states, coefs


def differences(checkpoint: Checkpoint, states: PromptStates) -> tuple[float, float]:
    """Return how far states are from the network's on some prompts: as a share of a state's norm, and in nats.

    The second is the largest difference of a coefficient.
    """
    network, encoder = checkpoint.model, checkpoint.encoder
    ids = [np.asarray(prompt) for prompt in encoder.encode_batch(CHECKED)]
    batch = pad(ids, encoder.pad_token_id)
    with torch.inference_mode(), evaluating(network):
        expected, found = network.hidden(batch.input_ids, batch.attention_mask), states(ids)
        coefs = (network.head(found).coefs - network.head(expected).coefs).abs().max()
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max()), float(coefs)


def _rows(checkpoint: Checkpoint) -> PromptStates | None:
    network, encoder = checkpoint.model, checkpoint.encoder
    length = encoder.format.max_length
    if can_attend_within(network.model):
        return RowEncoder(network)
    if network.readout == "cls" and encoder.format.cls_position == "end" and runs_in_rows(network.model, length):
        return RowDecoder(network.model, encoder.opening(), length)
    return None
