"""Run decoders of the Llama kind on a CPU to rank prompts, without computing what the head does not read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from p2l.models.continuation import Continuation
from p2l.models.prefix_cache import PrefixCache

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
    """The place of a prompt in the row, and what is known of the tokens before it.

    Attributes:
        prefix: number of tokens that are not in the row: those of the opening and of cached blocks.
        names: of the blocks that the cache shall keep after the pass.
        continuation: the keys and values of the whole prompt; None: it is computed from the opening, and not kept.
    """

    start: int
    end: int
    prefix: int
    names: list[bytes]
    continuation: Continuation | None


class Row(NamedTuple):
    """Prompts one after another without their prefixes; ``last`` is the place of each one's last token.

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
        groups, width = self._backbone.config.num_key_value_heads, layers[0].self_attn.head_dim
        # keys and values of the opening
        self._kept = torch.zeros(len(layers), 2, 0, groups, width, dtype=self._dtype)
        if len(opening):
            self._keep(np.asarray(opening, dtype=np.int64))

    @torch.inference_mode()
    def __call__(self, ids: Sequence[np.ndarray], cache: PrefixCache | None = None) -> Float[Tensor, "prompts hidden"]:
        """Return the states of prompts given as token ids, none empty; callable from several threads at a time.

        ``cache``: skips what it holds of their beginnings, and keeps those that came before. Use one for one decoder.
        """
        row = self._row(ids, cache)
        stream = self._embed(row)
        *layers, last = self._backbone.layers
        for number, layer in enumerate(layers):
            heads = self._heads(layer, stream, row)
            stream = self._layer(layer, stream, _attend(heads, self._kept, number, row, layer.self_attn.scaling))
        heads = self._heads(last, stream, row, only_last=True)
        attended = _attend(heads, self._kept, len(layers), row, last.self_attn.scaling, only_last=True)
        if cache is not None:
            for span in row.spans:
                if span.continuation is not None:
                    cache.keep(span.names, span.continuation.block)
        stream = self._layer(last, stream[row.last], attended)
        return self._norm(self._backbone.norm, stream)[: len(ids)]

    def num_cached(self, ids: np.ndarray, cache: PrefixCache) -> int:
        """Return how many tokens of a prompt the cache holds."""
        return cache.block_tokens * cache.count(cache.names(ids, self._opening_of(ids)))

    def _keep(self, opening: Int[np.ndarray, " tokens"]) -> None:
        row = self._row([opening])
        stream = self._embed(row)
        found = []
        for number, layer in enumerate(self._backbone.layers):
            heads = self._heads(layer, stream, row)
            found.append(torch.stack([heads.keys[: len(opening)], heads.values[: len(opening)]]))
            stream = self._layer(layer, stream, _attend(heads, self._kept, number, row, layer.self_attn.scaling))
        self._opening, self._kept = opening, torch.stack(found)

    def _opening_of(self, ids: np.ndarray) -> int:
        """Return the number of tokens of the opening, or 0 if the prompt does not begin with it."""
        opening = len(self._opening)
        return opening if len(ids) > opening and (ids[:opening] == self._opening).all() else 0

    def _row(self, ids: Sequence[np.ndarray], cache: PrefixCache | None = None) -> Row:
        spans: list[Span] = []
        for prompt in ids:
            spans.append(self._span(prompt, spans[-1].end if spans else 0, cache))
        own = [prompt[span.prefix :] for prompt, span in zip(ids, spans, strict=True)]
        places = [np.arange(span.prefix, len(prompt)) for prompt, span in zip(ids, spans, strict=True)]
        lasts = np.array([span.end - 1 for span in spans])
        tokens, at, last = (filled_up(x) for x in (np.concatenate(own), np.concatenate(places), lasts))
        return Row(tokens, self._cos[at], self._sin[at], spans, last)

    def _span(self, ids: np.ndarray, start: int, cache: PrefixCache | None) -> Span:
        opening = self._opening_of(ids)
        end = start + len(ids) - opening
        if cache is None:
            return Span(start, end, opening, [], None)
        names = cache.names(ids, opening)
        blocks, is_known = cache.find(names)
        if not is_known:
            return Span(start, end, opening, [], None)
        cached = cache.block_tokens * len(blocks)
        own = end - cached - start
        continuation = Continuation(self._kept[:, :, :opening], blocks, own, cache.block_tokens)
        return Span(start, end - cached, opening + cached, names, continuation)

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
    return torch.from_numpy(np.pad(numbers.astype(np.int64), (0, rows_to_fill(len(numbers)))))


def rows_to_fill(rows: int) -> int:
    """Return how many rows the next step is away."""
    return -rows % (FINE_STEP if rows <= FINE_ROWS else COARSE_STEP)


def _turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions in float32."""
    first, second = heads.float().chunk(2, dim=-1)
    turned = (torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin))
    return torch.cat(turned, dim=-1).to(heads.dtype)


def _attend(
    found: Heads, opening: Tensor, layer: int, row: Row, scale: float, only_last: bool = False
) -> Float[Tensor, "asking heads width"]:
    """Attend within each prompt, for every token or, with ``only_last``, for its last token."""
    mixed = torch.zeros_like(found.queries)
    for prompt, (start, end, prefix, _, continuation) in enumerate(row.spans):
        asking = slice(prompt, prompt + 1) if only_last else slice(start, end)
        own = Heads(found.queries[asking], found.keys[start:end], found.values[start:end])
        if continuation is not None:
            mixed[asking] = continuation.attend(layer, *own, scale)
        else:
            mixed[asking] = _attend_from_opening(own, opening[layer] if prefix else None, scale, only_last)
    return mixed


def _attend_from_opening(own: Heads, opening: Tensor | None, scale: float, only_last: bool) -> Tensor:
    """Attend within one prompt; the opening asks along, since the kernel without a mask takes equal lengths alone."""
    queries, keys, values = own
    if opening is not None:
        keys, values = (torch.cat(both) for both in zip(opening, (keys, values), strict=True))
        queries = (
            queries if only_last else torch.cat([queries.new_zeros(opening.shape[1], *queries.shape[1:]), queries])
        )
    query, key, value = (x.transpose(0, 1)[None] for x in (queries, keys, values))
    out = scaled_dot_product_attention(query, key, value, is_causal=not only_last, scale=scale, enable_gqa=True)
    return out[0].transpose(0, 1)[-len(own.queries) :]
