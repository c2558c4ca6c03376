"""Where a prompt lies among those of the votes, beside the coefficients."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from p2l.head_posterior import HeadPosterior


class PosteriorHead(nn.Module):
    """Map the hidden state of a prompt to the state that ``posterior`` reads: (h - centre) directions, in float32.

    Its numbers are buffers outside the state dict, so that checkpoints keep the published keys;
    ``p2l.models.posterior_file`` stores them. ``p2l.uncertainty`` fits them.
    """

    centre: Tensor
    directions: Tensor

    def __init__(self, posterior: HeadPosterior) -> None:
        super().__init__()
        self.posterior = posterior
        for name in ("centre", "directions"):
            values = torch.tensor(getattr(posterior, name), dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        return (hidden.float() - self.centre.float()) @ self.directions.float()
