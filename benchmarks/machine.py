"""The peak of this machine, by the library that the models run on: matrix products and the memory's bandwidth.

python benchmarks/machine.py [--seconds 2] [--json file]
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

SIZE = 2048  # rows and columns of the matrices; large enough for the peak, small enough for a laptop
COPIED = 256 * 2**20  # bytes, more than the caches hold


@dataclass(frozen=True)
class Machine:
    """Name, cores, memory in bytes, FLOP/s of matrix products by dtype, and bytes/s read and written by a copy."""

    name: str
    cores: int
    memory: int
    flops: dict[str, float]
    bandwidth: float
    threads: int
    versions: dict[str, str]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def best_rate(call: Callable[[], object], work: float, seconds: float) -> float:
    """Work a second of the fastest call within the time; the first call warms up."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return work / best


def product_rate(dtype: torch.dtype, seconds: float) -> float:
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    with torch.inference_mode():
        return best_rate(lambda: a @ b, 2 * SIZE**3, seconds)


def measure(seconds: float) -> Machine:
    source = torch.zeros(COPIED // 4)
    target = torch.empty_like(source)
    return Machine(
        name=processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        flops={
            str(dtype).removeprefix("torch."): product_rate(dtype, seconds) for dtype in (torch.float32, torch.bfloat16)
        },
        bandwidth=best_rate(lambda: target.copy_(source), 2 * COPIED, seconds),
        threads=torch.get_num_threads(),
        versions={"Python": platform.python_version(), "torch": torch.__version__},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", help="file for the result")
    args = parser.parse_args()
    machine = measure(args.seconds)
    for dtype, rate in machine.flops.items():
        print(f"matrix products in {dtype}: {rate / 1e9:.0f} GFLOP/s on {machine.threads} threads")
    print(f"memory: {machine.bandwidth / 1e9:.1f} GB/s read and written by a copy")
    if args.json:
        Path(args.json).write_text(json.dumps(asdict(machine), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
