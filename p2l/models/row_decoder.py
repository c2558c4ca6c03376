"""Run decoders of the Llama kind on a CPU to rank prompts, without computing what the head does not read."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

LLAMA_KIND = {"LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model"}
FIXED_ROTATIONS = {"default", "linear", "llama3", "yarn"}  # depend on positions alone, not on the length of the prompt
# oneDNN builds a kernel for each new number of rows, which takes a tenth of a short prompt's time, and caches about a
# hundred of them: rows are padded to multiples of these steps, the fine one up to FINE_ROWS.
FINE_STEP, COARSE_STEP, FINE_ROWS = 8, 64, 256


class Heads(NamedTuple):
    """Queries, keys and values of the tokens of a row, rotated to their positions."""

    queries: Float[Tensor, "tokens heads width"]
    keys: Float[Tensor, "tokens groups width"]
    values: Float[Tensor, "tokens groups width"]


class Span(NamedTuple):
    """The place of a prompt in the row, and the number of cached opening tokens before it."""

    start: int
    end: int
    opening: int


class Row(NamedTuple):
    """Prompts one after another without their opening; ``last`` is the place of each one's last token.

    Both are padded to lengths that recur; the results of padding are not used.
    """

    tokens: Int[Tensor, " tokens"]
    cos: Float[Tensor, "tokens 1 half"]
    sin: Float[Tensor, "tokens 1 half"]
    spans: list[Span]
    last: Int[Tensor, " lasts"]


def runs_in_rows(backbone: Any, max_length: int) -> bool:
    """Return whether ``RowDecoder`` supports a backbone: its class, fixed rotations, no window within prompts."""
    if type(backbone).__name__ not in LLAMA_KIND or backbone.rotary_emb.rope_type not in FIXED_ROTATIONS:
        return False
    return (getattr(backbone.config, "sliding_window", None) or max_length) >= max_length


class RowDecoder:
    """Compute the hidden state of each prompt's last token, as the backbone does, in fewer operations.

    All prompts lie in one row without padding. Each attends to itself alone: other prompts change its state only by the
    rounding of matrix products. The last layer computes last tokens only. The common beginning of all prompts
    (``opening``: the system prompt of a chat template) is computed once, at construction. The residual stream is
    float32 whatever the weights are. The weights are shared with the backbone, whose linear layers run.

    Args:
        backbone: one that ``runs_in_rows``, on the CPU.
        opening: token ids; a prompt that does not begin with them is computed in full.
        max_length: most tokens of a prompt.
    """

    @torch.inference_mode()
    def __init__(self, backbone: Any, opening: Sequence[int], max_length: int) -> None:
        self._backbone = backbone
        self._dtype: torch.dtype = self._backbone.embed_tokens.weight.dtype
        positions = torch.arange(max_length)
        turns = self._backbone.rotary_emb(torch.zeros(1), positions[None])  # float32, as its argument
        self._cos, self._sin = (x[0, :, None, : x.shape[-1] // 2].contiguous() for x in turns)
        layers = self._backbone.layers
        norms = [n for layer in layers for n in (layer.input_layernorm, layer.post_attention_layernorm)]
        self._gains: dict[Any, Tensor] = {norm: norm.weight.float() for norm in (*norms, self._backbone.norm)}
        self._silu = self._backbone.config.hidden_act == "silu"
        self._opening = np.zeros(0, dtype=np.int64)
        self._kept: list[Heads | None] = [None] * len(layers)
        if len(opening):
            self._keep(np.asarray(opening, dtype=np.int64))

    @torch.inference_mode()
    def __call__(self, ids: Sequence[np.ndarray]) -> Float[Tensor, "prompts hidden"]:
        """Return the states of prompts given as token ids, none empty; callable from several threads at a time."""
        row = self._row(ids)
        stream = self._embed(row)
        *layers, last = self._backbone.layers
        for layer, kept in zip(layers, self._kept, strict=False):
            heads = self._heads(layer, stream, row)
            stream = self._layer(layer, stream, _attend(heads, kept, row.spans, layer.self_attn.scaling))
        heads = self._heads(last, stream, row, only_last=True)
        attended = _attend(heads, self._kept[-1], row.spans, last.self_attn.scaling, only_last=True)
        stream = self._layer(last, stream[row.last], attended)
        return self._norm(self._backbone.norm, stream)[: len(ids)]

    def _keep(self, opening: Int[np.ndarray, " tokens"]) -> None:
        row = self._row([opening])
        stream = self._embed(row)
        for number, layer in enumerate(self._backbone.layers):
            heads = self._heads(layer, stream, row)
            self._kept[number] = Heads(*(x[: len(opening)] for x in heads))
            stream = self._layer(layer, stream, _attend(heads, None, row.spans, layer.self_attn.scaling))
        self._opening = opening

    def _row(self, ids: Sequence[np.ndarray]) -> Row:
        opening = len(self._opening)
        openings = [opening if len(p) > opening and (p[:opening] == self._opening).all() else 0 for p in ids]
        own = [prompt[opening:] for prompt, opening in zip(ids, openings, strict=True)]
        ends = np.cumsum([len(prompt) for prompt in own])
        spans = [Span(*ends, opening) for ends, opening in zip(pairwise([0, *ends.tolist()]), openings, strict=True)]
        places = [np.arange(span.opening, span.opening + span.end - span.start) for span in spans]
        tokens, at, last = (filled_up(x) for x in (np.concatenate(own), np.concatenate(places), ends - 1))
        return Row(tokens, self._cos[at], self._sin[at], spans, last)

    def _embed(self, row: Row) -> Tensor:
        return self._backbone.embed_tokens(row.tokens).float()

    def _layer(self, layer: Any, stream: Tensor, attended: Tensor) -> Tensor:
        """Update the stream in place with a layer."""
        stream += layer.self_attn.o_proj(attended.flatten(1))
        hidden = self._norm(layer.post_attention_layernorm, stream)
        gate = layer.mlp.gate_proj(hidden)
        # in place: allocating large tensors takes longer than the arithmetic
        gate = silu(gate, inplace=True) if self._silu else layer.mlp.act_fn(gate)
        stream += layer.mlp.down_proj(gate.mul_(layer.mlp.up_proj(hidden)))
        return stream

    def _heads(self, layer: Any, stream: Tensor, row: Row, only_last: bool = False) -> Heads:
        """Compute the heads of all tokens; with ``only_last`` the queries of last tokens only."""
        attention, hidden = layer.self_attn, self._norm(layer.input_layernorm, stream)
        shape = (len(hidden), -1, attention.head_dim)
        keys, values = attention.k_proj(hidden).view(shape), attention.v_proj(hidden).view(shape)
        turns = asked = (row.cos, row.sin)
        if only_last:
            hidden, asked = hidden[row.last], (row.cos[row.last], row.sin[row.last])
        queries = attention.q_proj(hidden).view(len(hidden), *shape[1:])
        if hasattr(attention, "q_norm"):
            queries, keys = attention.q_norm(queries), attention.k_norm(keys)
        return Heads(_turn(queries, *asked), _turn(keys, *turns), values)

    def _norm(self, module: Any, stream: Tensor) -> Tensor:
        gain = self._gains[module]
        return rms_norm(stream, gain.shape, gain, module.variance_epsilon).to(self._dtype)


def filled_up(numbers: Int[np.ndarray, " n"]) -> Int[Tensor, " rows"]:
    """Pad the numbers with zeros to the next step."""
    step = FINE_STEP if len(numbers) <= FINE_ROWS else COARSE_STEP
    return torch.from_numpy(np.pad(numbers.astype(np.int64), (0, -len(numbers) % step)))


def _turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions in float32."""
    first, second = heads.float().chunk(2, dim=-1)
    turned = (torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin))
    return torch.cat(turned, dim=-1).to(heads.dtype)


def _attend(found: Heads, kept: Heads | None, spans: list[Span], scale: float, only_last: bool = False) -> Tensor:
    """Attend within each prompt, for every token or, with ``only_last``, for its last token."""
    queries, keys, values = found
    mixed = torch.zeros_like(queries)
    for prompt, (start, end, opening) in enumerate(spans):
        asking = slice(prompt, prompt + 1) if only_last else slice(start, end)
        own = [queries[asking], keys[start:end], values[start:end]]
        if opening and kept is not None:
            whole = [torch.cat(both) for both in zip(kept, own, strict=True)]
            own = [own[0] if only_last else whole[0], *whole[1:]]
        query, key, value = (x.transpose(0, 1)[None] for x in own)
        out = scaled_dot_product_attention(query, key, value, is_causal=not only_last, scale=scale, enable_gqa=True)
        mixed[asking] = out[0].transpose(0, 1)[0 if only_last else opening :]
    return mixed
