"""Estimates of training cost: parameters, FLOPs, memory, communication, seconds.

Formulas for decoders with gated MLPs (Qwen, Llama, Mistral); N is the number of parameters, T of tokens.
"""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedConfig

BF16, FP32 = 2, 4
Strategy = Literal["ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"]


@dataclass(frozen=True)
class BackboneShape:
    """Sizes of a decoder, by the names of its configuration.

    Attributes:
        attention_bias: 1 if query, key and value have biases (Qwen2), else 0.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    attention_bias: int = 0
    head_dim: int | None = None

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> "BackboneShape":
        """Return the sizes of a Hugging Face configuration."""
        return cls(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            intermediate_size=config.intermediate_size,
            vocab_size=config.vocab_size,
            attention_bias=int(config.model_type == "qwen2"),
            head_dim=getattr(config, "head_dim", None),
        )

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def key_size(self) -> int:
        """Width of all key heads together; that of the values is the same."""
        return self.query_size * self.num_key_value_heads // self.num_attention_heads

    @property
    def block_matrices(self) -> int:
        """Entries of the weight matrices of one block; each multiplies every token."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_size)
        return attention + 3 * self.hidden_size * self.intermediate_size

    @property
    def num_parameters(self) -> int:
        """Parameters of the backbone with its embeddings; P2L has no language-model head."""
        vectors = 2 * self.hidden_size + self.attention_bias * (self.query_size + 2 * self.key_size)
        blocks = self.num_hidden_layers * (self.block_matrices + vectors)
        return blocks + self.vocab_size * self.hidden_size + self.hidden_size

    def forward_flops(self, prompt_tokens: int, *, causal: bool = True) -> float:
        """Return FLOPs of the forward pass of one prompt: 2 per matrix entry and token, and attention.

        Attention takes 4 x query size x T^2 in each layer, or half of it with a kernel that skips masked entries.
        """
        matrices = 2 * self.block_matrices * prompt_tokens
        attention = (2 if causal else 4) * self.query_size * prompt_tokens**2
        return float(self.num_hidden_layers * (matrices + attention))

    def training_flops(self, prompt_tokens: int, *, recomputed: bool = False, causal: bool = True) -> float:
        """Return FLOPs of forward and backward: three forward passes, and a fourth if activations are recomputed."""
        return (4 if recomputed else 3) * self.forward_flops(prompt_tokens, causal=causal)

    def block_activations(self, item: int = BF16) -> int:
        """Return bytes per token that one block keeps for its backward pass; the attention kernel keeps no T^2 matrix.

        Kept are: for each of two norms its float32 input, normalised and scaled output; queries, keys and values before
        and after rotation; the output of attention; and of the MLP gate, activation, up and their product.
        """
        norms = 2 * (FP32 * self.hidden_size + 2 * item * self.hidden_size)
        attention = item * (2 * self.query_size + 3 * self.key_size + self.query_size)
        return norms + attention + 4 * item * self.intermediate_size

    def activations(self, tokens: int, *, recomputed: bool, item: int = BF16) -> int:
        """Return bytes kept for the backward pass of a micro-batch.

        With recomputation, these are the input of each block and the activations of one block.
        """
        if not recomputed:
            return tokens * self.num_hidden_layers * self.block_activations(item)
        return tokens * (self.num_hidden_layers * item * self.hidden_size + self.block_activations(item))


@dataclass(frozen=True)
class BytesPerParameter:
    """Bytes of weights, gradients and optimizer state (AdamW) per parameter, and which are sharded over ranks."""

    weights: int
    gradients: int
    optimizer: int
    sharded: frozenset[str] = frozenset()

    def on_each(self, num_ranks: int) -> float:
        """Return bytes per parameter on one rank."""
        parts = ("weights", "gradients", "optimizer")
        return sum(getattr(self, part) / (num_ranks if part in self.sharded else 1) for part in parts)


ALL = frozenset({"weights", "gradients", "optimizer"})
# for conf/trainer: bfloat16 compute, float32 master weights. Under DDP, autocast keeps bfloat16 copies during a step;
# DeepSpeed keeps bfloat16 weights and gradients, and float32 master weights with the two moments
STATES: dict[Strategy, BytesPerParameter] = {
    "ddp": BytesPerParameter(FP32 + BF16, FP32, 2 * FP32),
    "zero1": BytesPerParameter(BF16, BF16, 3 * FP32, frozenset({"optimizer"})),
    "zero2": BytesPerParameter(BF16, BF16, 3 * FP32, frozenset({"optimizer", "gradients"})),
    "zero3": BytesPerParameter(BF16, BF16, 3 * FP32, ALL),
    "fsdp": BytesPerParameter(FP32, FP32, 2 * FP32, ALL),
    "fsdp2": BytesPerParameter(FP32, FP32, 2 * FP32, ALL),
}
# bytes per parameter that a rank sends in a micro-batch (weights) and at its end (gradients), for many ranks: an
# all-reduce sends twice as much as an all-gather or a reduce-scatter
WIRE: dict[Strategy, int] = {
    "ddp": 2 * FP32,
    "zero1": 2 * BF16 + BF16,
    "zero2": BF16 + BF16,
    "zero3": 2 * BF16 + BF16,
    "fsdp": 2 * BF16 + BF16,
    "fsdp2": 2 * BF16 + FP32,
}


@dataclass(frozen=True)
class Device:
    """A GPU: dense bfloat16 FLOP/s, bytes of memory, bytes/s of memory, and bytes/s of its links, one way."""

    name: str
    flops: float
    memory: float
    memory_bandwidth: float
    link_in_node: float
    link_between_nodes: float


# data sheets: SXM boards, NVLink 900 GB/s both ways, one 400 Gb/s network card for each GPU
H100 = Device("H100", 989e12, 80e9, 3.35e12, 450e9, 50e9)
H200 = Device("H200", 989e12, 141e9, 4.8e12, 450e9, 50e9)


@dataclass(frozen=True)
class StepCost:
    """Seconds of one micro-batch on each rank, by resource, and bytes of memory on each rank."""

    compute: float
    memory_traffic: float
    wire: float
    memory: float

    @property
    def seconds(self) -> float:
        """Time of the slowest resource: computation, memory traffic and communication overlap."""
        return max(self.compute, self.memory_traffic, self.wire)

    @property
    def limit(self) -> str:
        """Name of the slowest resource."""
        times = {"compute": self.compute, "memory bandwidth": self.memory_traffic, "interconnect": self.wire}
        return max(times, key=lambda name: times[name])


def step_cost(
    shape: BackboneShape,
    device: Device,
    *,
    strategy: Strategy,
    num_ranks: int,
    tokens: int,
    prompt_tokens: int,
    utilisation: float = 0.4,
    in_node: bool = True,
) -> StepCost:
    """Return the cost of one micro-batch of ``tokens``, with recomputed activations.

    Args:
        shape: sizes of the backbone.
        device: the GPU of each rank.
        strategy: how weights, gradients and optimizer state are sharded.
        num_ranks: number of data-parallel ranks.
        tokens: tokens in a micro-batch of one rank.
        prompt_tokens: tokens of each prompt.
        utilisation: share of the device's FLOP/s that its kernels reach, recomputation included.
        in_node: whether all ranks share a node; otherwise the slower links between nodes limit.
    """
    size = shape.num_parameters
    flops = shape.training_flops(prompt_tokens, recomputed=True) * tokens / prompt_tokens
    link = device.link_in_node if in_node else device.link_between_nodes
    held = size * STATES[strategy].on_each(num_ranks)
    # two blocks are gathered at a time: the one that runs and the next one
    gathered = 2 * BF16 * shape.block_matrices if "weights" in STATES[strategy].sharded else 0
    return StepCost(
        compute=flops / (device.flops * utilisation),
        # weights are read in each of three passes; activations are written and read
        memory_traffic=(3 * BF16 * size + 2 * 3 * shape.activations(tokens, recomputed=False))
        / device.memory_bandwidth,
        wire=WIRE[strategy] * size / link if num_ranks > 1 else 0.0,
        memory=held + gathered + shape.activations(tokens, recomputed=True),
    )
