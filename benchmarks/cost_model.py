"""Estimated training cost from 0.5B to 72B: memory of a GPU by strategy, FLOPs and seconds of a run, and its limit.

    python benchmarks/cost_model.py [--votes 2250000] [--prompt-tokens 256] [--utilisation 0.4] [--tokens 32768]

``--check`` compares the model to this machine: the seconds of a training step of a small Qwen2 on one thread, and the
seconds that its FLOPs take at the speed of this machine's matrix products (the MFU of the step).
"""

import argparse
import time

import torch
from transformers import AutoConfig, AutoModel

from p2l.training.training_cost import H100, H200, STATES, BackboneShape, Device, Strategy, step_cost

# of the published configurations
SHAPES = {
    "Qwen2.5-0.5B": BackboneShape(896, 24, 14, 2, 4864, 151936, 1),
    "Qwen2.5-1.5B": BackboneShape(1536, 28, 12, 2, 8960, 151936, 1),
    "Qwen2.5-3B": BackboneShape(2048, 36, 16, 2, 11008, 151936, 1),
    "Qwen2.5-7B": BackboneShape(3584, 28, 28, 4, 18944, 152064, 1),
    "Llama-3.1-8B": BackboneShape(4096, 32, 32, 8, 14336, 128256),
    "Qwen2.5-14B": BackboneShape(5120, 48, 40, 8, 13824, 152064, 1),
    "Qwen2.5-32B": BackboneShape(5120, 64, 40, 8, 27648, 152064, 1),
    "Llama-3.1-70B": BackboneShape(8192, 80, 64, 8, 28672, 128256),
    "Qwen2.5-72B": BackboneShape(8192, 80, 64, 8, 29568, 152064, 1),
}
RUNS: tuple[tuple[Device, int], ...] = ((H100, 8), (H200, 8), (H100, 64), (H200, 64))


def memory_table(tokens: int) -> None:
    """Print GB on each of 8 and 64 GPUs, by strategy."""
    strategies: tuple[Strategy, ...] = tuple(STATES)
    print(f"\nGB on each GPU, micro-batches of {tokens:,} tokens, activations computed again: 8 / 64 GPUs\n")
    print("| backbone | parameters | activations | " + " | ".join(strategies) + " |")
    print("|---|---|---|" + "---|" * len(strategies))
    for name, shape in SHAPES.items():
        held = [
            " / ".join(
                f"{step_cost(shape, H100, strategy=s, num_ranks=r, tokens=tokens, prompt_tokens=512).memory / 1e9:.0f}"
                for r in (8, 64)
            )
            for s in strategies
        ]
        activations = shape.activations(tokens, recomputed=True) / 1e9
        print(f"| {name} | {shape.num_parameters / 1e9:.2f} B | {activations:.1f} | " + " | ".join(held) + " |")


def time_table(votes: int, prompt_tokens: int, tokens: int, utilisation: float) -> None:
    """Print hours of one epoch under FSDP2, and the limit of a micro-batch."""
    print(f"\nHours for {votes:,} votes of {prompt_tokens} tokens, FSDP2, {tokens:,} tokens a micro-batch and GPU\n")
    names = [f"{count} {device.name}" for device, count in RUNS]
    print("| backbone | GFLOPs forward, a vote | TFLOPs trained, a vote | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(RUNS))
    for name, shape in SHAPES.items():
        hours = []
        for device, count in RUNS:
            cost = step_cost(
                shape,
                device,
                strategy="fsdp2",
                num_ranks=count,
                tokens=tokens,
                prompt_tokens=prompt_tokens,
                utilisation=utilisation,
                in_node=count <= 8,
            )
            micro_batches = votes * prompt_tokens / (tokens * count)
            fits = "" if cost.memory < 0.9 * device.memory else ", too large"
            hours.append(f"{micro_batches * cost.seconds / 3600:.2g} ({cost.limit}{fits})")
        forward, trained = shape.forward_flops(prompt_tokens), shape.training_flops(prompt_tokens, recomputed=True)
        print(f"| {name} | {forward / 1e9:.0f} | {trained / 1e12:.2f} | " + " | ".join(hours) + " |")


def limit_table() -> None:
    """Print the tokens of a micro-batch above which computation takes longer than communication."""
    print("\nTokens in a micro-batch of a GPU from which computing outlasts FSDP2's exchange (at 0.4 of the peak)\n")
    print("| backbone | within a node | between nodes |\n|---|---|---|")
    for name, shape in SHAPES.items():
        thousand = [
            step_cost(shape, H100, strategy="fsdp2", num_ranks=8, tokens=1000, prompt_tokens=500, in_node=near)
            for near in (True, False)
        ]
        print(f"| {name} | " + " | ".join(f"{1000 * cost.wire / cost.compute:,.0f}" for cost in thousand) + " |")


def matmul_flops(size: int = 1024, repeat: int = 20) -> float:
    """Return FLOP/s of float32 matrix products on this machine."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    (a @ b).sum()
    start = time.perf_counter()
    for _ in range(repeat):
        a @ b
    return 2 * size**3 * repeat / (time.perf_counter() - start)


def check() -> None:
    """Print seconds of a training step, and of its FLOPs at the speed of matrix products."""
    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=1000,
    )
    shape, backbone = BackboneShape.from_config(config), AutoModel.from_config(config)
    peak, batch, tokens = matmul_flops(), 4, 256
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        backbone(input_ids=torch.ones(batch, tokens, dtype=torch.long)).last_hidden_state.square().sum().backward()
        seconds.append(time.perf_counter() - start)
    flops, best = batch * shape.training_flops(tokens), min(seconds)
    print(f"\n{shape.num_parameters / 1e6:.0f}M Qwen2, {batch} x {tokens} tokens, {torch.get_num_threads()} threads")
    print(f"matrix products {peak / 1e9:.0f} GFLOP/s; a step {flops / 1e9:.0f} GFLOP in {best:.2f} s: ", end="")
    print(f"{flops / best / 1e9:.0f} GFLOP/s, MFU {flops / best / peak:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=int, default=2_250_000)
    parser.add_argument("--prompt-tokens", type=int, default=256, help="mean length of a prompt, one vote each")
    parser.add_argument("--tokens", type=int, default=32768, help="in a micro-batch of a GPU")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that kernels reach")
    parser.add_argument("--check", action="store_true", help="hold the model against this machine")
    args = parser.parse_args()
    memory_table(args.tokens)
    time_table(args.votes, args.prompt_tokens, args.tokens, args.utilisation)
    limit_table()
    if args.check:
        check()


if __name__ == "__main__":
    main()
