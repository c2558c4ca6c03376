"""Tokens/s and MFU of ``scripts/train.py`` on this machine's GPU: packed or padded, kernels, strategies.

Backbones have published shapes and random weights; prompts are random bytes of a quarter to the whole of each length.
Every case is a separate run; its first steps (compilation, memory allocation) are not counted.

    python benchmarks/train_gpu.py [--shapes 0.5b 1.5b 7b] [--lengths 512 2048] [--steps 20] [--only packed]

``--cpu`` runs the cases that need no GPU on a tiny shape, to test the benchmark itself.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from p2l.training.training_cost import H100, BackboneShape

ROOT = Path(__file__).parents[1]
SKIPPED_STEPS = 5
SHAPES = {
    "tiny": BackboneShape(64, 2, 4, 2, 128, 300, 1),
    "0.5b": BackboneShape(896, 24, 14, 2, 4864, 151936, 1),
    "1.5b": BackboneShape(1536, 28, 12, 2, 8960, 151936, 1),
    "7b": BackboneShape(3584, 28, 28, 4, 18944, 152064, 1),
}


@dataclass(frozen=True)
class Case:
    """A name, and the overrides of ``conf/train.yaml``."""

    name: str
    overrides: tuple[str, ...]


FLASH = "model.attn_implementation=flash_attention_2"
FSDP2_ON_CPU = ("trainer=fsdp2", "trainer.accelerator=cpu", "trainer.strategy.compute_dtype=null")
GPU_CASES = (
    Case("padded, sdpa", ("trainer=gpu",)),
    Case("padded, flash", ("trainer=gpu", FLASH)),
    Case("packed, flash", ("trainer=gpu", FLASH, "model.packed=true")),
    Case("packed, flash, compiled", ("trainer=gpu", FLASH, "model.packed=true", "model.compile=inductor")),
    Case("packed, flash, fsdp", ("trainer=fsdp", "trainer.devices=1", FLASH, "model.packed=true")),
    Case("packed, flash, fsdp2", ("trainer=fsdp2", "trainer.devices=1", FLASH, "model.packed=true")),
    *(
        Case(f"packed, flash, zero{n}", (f"trainer=deepspeed_zero{n}", "trainer.devices=1", FLASH, "model.packed=true"))
        for n in (1, 2, 3)
    ),
)
CPU_CASES = (
    Case("padded, sdpa", ("trainer=cpu",)),
    Case("packed, sdpa", ("trainer=cpu", "model.packed=true")),
    Case("packed, sdpa, compiled", ("trainer=cpu", "model.packed=true", "model.compile=aot_eager")),
    Case("packed, sdpa, fsdp2", (*FSDP2_ON_CPU, "trainer.devices=1", "model.packed=true")),
)


def write_votes(path: Path, count: int, length: int) -> Path:
    """Write votes on random prompts of ``length / 4`` to about ``length`` tokens of one byte."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for size in rng.integers(length // 4, length, count):
            prompt = bytes(rng.integers(97, 123, size, dtype=np.uint8)).decode()
            vote = {"prompt": prompt, "model_a": "a", "model_b": "b", "winner": rng.choice(["model_a", "tie"])}
            file.write(json.dumps(vote) + "\n")
    return path


def overrides_of(
    shape: BackboneShape, length: int, votes: Path, batch_size: int, budget: int, folder: Path
) -> list[str]:
    """Return the overrides of a case."""
    sizes = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
    }
    without = ("best", "last", "publish", "examples", "learning_rate", "progress")
    return [
        "model=tiny",
        f"model.max_length={length}",
        "model.gradient_checkpointing=true",
        *(f"model.scratch.{name}={size}" for name, size in sizes.items()),
        f"+model.scratch.vocab_size={shape.vocab_size}",
        "data=local",
        f"data.train={votes}",
        f"batching.batch_size={batch_size}",
        f"batching.token_budget={budget}",
        *(f"callbacks.{name}=null" for name in without),
        "trainer.enable_model_summary=false",
        "logger=csv",
        f"output_dir={folder}",
    ]


def tokens_per_second(case: Case, shared: list[str], folder: Path) -> float | str:
    """Return tokens/s without the first steps, or the reason of a failed run."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *shared, *case.overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return f"failed: {lines[-1] if lines else done.returncode}"
    with next(folder.glob("csv/version_*/metrics.csv")).open() as file:
        speeds = [float(row["speed/tokens_per_s"]) for row in csv.DictReader(file) if row.get("speed/tokens_per_s")]
    return median(speeds[SKIPPED_STEPS:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.5b", "1.5b", "7b"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 2048])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--token-budget", type=int, default=16384)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--cpu", action="store_true", help="the tiny shape and the cases that a CPU can run")
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        parser.error("no GPU here; --cpu runs what needs none")
    names, cases = (["tiny"], CPU_CASES) if args.cpu else (args.shapes, GPU_CASES)
    print("| backbone | tokens | case | tokens/s, padding not counted | MFU |\n|---|---|---|---|---|")
    for name in names:
        for length in args.lengths:
            # prompts have 5/8 of the length on average: about two micro-batches a step
            batch_size = max(1, 2 * args.token_budget * 8 // (5 * length))
            for case in (case for case in cases if args.only in case.name):
                with tempfile.TemporaryDirectory() as room:
                    votes = write_votes(Path(room) / "votes.jsonl", (args.steps + SKIPPED_STEPS) * batch_size, length)
                    run = Path(room) / "run"
                    shared = overrides_of(SHAPES[name], length, votes, batch_size, args.token_budget, run)
                    report(name, length, case, tokens_per_second(case, shared, run), args.cpu)


def report(name: str, length: int, case: Case, speed: float | str, cpu: bool) -> None:
    """Print one row; MFU counts three forward passes, without recomputed activations."""
    if isinstance(speed, str):
        print(f"| {name} | {length} | {case.name} | {speed} | |", flush=True)
        return
    mean = length * 5 // 8
    mfu = "" if cpu else f"{speed * SHAPES[name].training_flops(mean) / mean / H100.flops:.3f}"
    print(f"| {name} | {length} | {case.name} | {speed:,.0f} | {mfu} |", flush=True)


if __name__ == "__main__":
    main()
