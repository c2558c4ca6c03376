"""Run encoders of the BERT kind on a CPU to rank prompts, without padding."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from p2l.models.p2l_model import P2LModel
from p2l.models.packed import row_of
from p2l.models.row_attention import attend_within_prompts
from p2l.models.row_decoder import rows_to_fill


class RowEncoder:
    """Compute the hidden state of each prompt as the network does, all prompts in one row.

    The linear layers run over all tokens; each prompt attends to itself alone. Other prompts change its state only by
    the rounding of matrix products.

    Args:
        network: one whose backbone ``can_attend_within``, on the CPU. The backbone gets the attention of rows, which
            computes padded batches as before.
    """

    def __init__(self, network: P2LModel) -> None:
        attend_within_prompts(network.model)
        self._network = network

    @torch.inference_mode()
    def __call__(self, ids: Sequence[np.ndarray]) -> Float[Tensor, "prompts hidden"]:
        """Return the states of prompts given as token ids, none empty; callable from several threads at a time."""
        order = np.argsort([len(prompt) for prompt in ids], kind="stable")
        row = row_of([ids[i] for i in order], rows_to_fill(sum(map(len, ids))))
        return self._network.hidden_of_row(row)[torch.from_numpy(np.argsort(order))]
