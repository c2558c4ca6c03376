"""Measure how long ``load_votes`` takes beside the plain read of the same file.

    python benchmarks/load_votes.py [--votes 300000] [--rounds 3]

Writes simulated votes whose prompts are all different, as lists of turns in parquet and JSON lines and as text in CSV.
Reads each file in turn with pandas alone and with ``load_votes``, which also validates, reports and indexes. Prints
CPU seconds (median of the rounds) and their ratio.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from figures import Figure, save

from p2l.data import load_votes
from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes


def write_files(folder: Path, num_votes: int) -> None:
    prompts = load_prompts()
    per_prompt = -(-num_votes // len(prompts))
    votes = simulate_votes(SimulatedArena.from_seed(), prompts, per_prompt).head(num_votes)
    votes["prompt"] = [[f"{row}: {turns[0]}", *turns[1:]] for row, turns in enumerate(votes["prompt"])]
    votes.to_parquet(folder / "votes.parquet")
    votes.to_json(folder / "votes.jsonl", orient="records", lines=True)
    votes.assign(prompt=votes["prompt"].str.join("\n")).to_csv(folder / "votes.csv", index=False)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "votes.parquet": pd.read_parquet,
    "votes.csv": pd.read_csv,
    "votes.jsonl": lambda path: pd.read_json(path, lines=True),
}


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.votes)
        print(f"{options.votes:,} votes; CPU seconds: pandas alone, load_votes, ratio")
        for file, read in READERS.items():
            path = folder / file
            rounds = [
                (cpu_seconds(lambda: read(path)), cpu_seconds(lambda: load_votes(path)))  # noqa: B023
                for _ in range(options.rounds)
            ]
            plain, ours = (float(median(times)) for times in np.array(rounds).T)
            print(f"{file:14} {plain:6.2f} {ours:6.2f} {ours / plain:6.1f}")
            figures.append(Figure(f"{options.votes:,} votes, {file}, CPU", "s", ours, {"pandas, read alone": plain}))
    save(options.json, figures)


if __name__ == "__main__":
    main()
