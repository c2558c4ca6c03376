"""The keys and values of a prompt in a row that continues cached blocks, or whose blocks will be cached."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Continuation:
    """The keys and values of a whole prompt: those of its prefix are known, the others come layer by layer.

    Args:
        opening: keys and values of the tokens before the first block.
        blocks: those of the cached blocks after them.
        own: number of tokens after the prefix, at least one.
        block_tokens: of a block.
    """

    def __init__(
        self,
        opening: Float[Tensor, "layers 2 opening groups width"],
        blocks: Sequence[Float[Tensor, "layers 2 block groups width"]],
        own: int,
        block_tokens: int,
    ) -> None:
        layers, _, self._opening, groups, width = opening.shape
        self._block_tokens = block_tokens
        # one copy: the room for the rest is part of the same tensor
        self._heads = torch.cat([opening, *blocks, opening.new_empty(layers, 2, own, groups, width)], dim=2)
        total = self._heads.shape[2]
        self._prefix = total - own
        self._mask = opening.new_full((own, total), -math.inf).triu_(self._prefix + 1)

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "asking heads width"],
        keys: Float[Tensor, "own groups width"],
        values: Float[Tensor, "own groups width"],
        scale: float,
    ) -> Float[Tensor, "asking heads width"]:
        """Add a layer's own keys and values; attend for all own tokens, or for the last if it alone asks."""
        whole_keys, whole_values = self._heads[layer]
        whole_keys[self._prefix :], whole_values[self._prefix :] = keys, values
        query, key, value = (x.transpose(0, 1)[None] for x in (queries, whole_keys, whole_values))
        mask = self._mask[-len(queries) :]
        out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=True)
        return out[0].transpose(0, 1)

    def block(self, number: int) -> Float[Tensor, "layers 2 block groups width"]:
        """Return a copy of a block, counted from the opening; call it when all layers have run."""
        start = self._opening + number * self._block_tokens
        return self._heads[:, :, start : start + self._block_tokens].clone()
