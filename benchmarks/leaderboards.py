"""Time and memory of leaderboard fits, compared to other libraries in the same run.

There are three jobs. Each side runs in its own process, so that first calls and peak memory are its own:

- aggregate: 2,000 rankings of 100 models, grounded Rao-Kupper, to one leaderboard; compared to the published code if
  ``--upstream`` is given.
- marginal: 1,000,000 votes over 130 models in a DataFrame to one leaderboard, ours and arena-rank's with intervals;
  compared to arena-rank and evalica if they are installed.
- scale: the aggregation-scale section of the evaluation suite with its defaults: 41,507 random rankings of 100 models.

    python benchmarks/leaderboards.py [--upstream <folder of lmarena/p2l>] [--repeat 5]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from figures import Figure, save

PROMPTS, MODELS = 2_000, 100
VOTES, VOTED_MODELS = 1_000_000, 130
SCALE_PROMPTS = 41_507
SCALE_METRICS = ["L1-Dist-Prob", "Spearman-lbs", "Kendall-lbs"]
SCALE_SIZES = [1, 10, 25, 100, 250, 500, 1000, 2000]
SCALE_SAMPLES = [500, 500, 500, 200, 100, 40, 10, 6]
WINNERS = np.array(["model_a", "model_b", "tie", "tie (bothbad)"])


def rankings(prompts: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(prompts, MODELS, generator=generator), torch.randn(prompts, generator=generator)


def votes() -> pd.DataFrame:
    """Draw votes from a known Bradley-Terry truth; a fifth are ties."""
    rng = np.random.default_rng(0)
    strength = rng.normal(size=VOTED_MODELS)
    a = rng.integers(VOTED_MODELS, size=VOTES)
    b = (a + rng.integers(1, VOTED_MODELS, size=VOTES)) % VOTED_MODELS
    lost = rng.random(VOTES) > 1 / (1 + np.exp(strength[b] - strength[a]))
    outcome = np.where(rng.random(VOTES) < 0.2, 2, lost.astype(int))
    names = np.array([f"model-{i:03d}" for i in range(VOTED_MODELS)])
    return pd.DataFrame({"model_a": names[a], "model_b": names[b], "winner": WINNERS[outcome]})


def our_aggregate(_: str) -> Callable[[], list[float]]:
    from p2l.leaderboard import aggregate
    from p2l.outcomes import GRK
    from p2l.types import Ranking

    ranking = Ranking(*rankings(PROMPTS))
    return lambda: aggregate(ranking, GRK).coefs.tolist()


def upstream_aggregate(folder: str) -> Callable[[], list[float]]:
    sys.path.insert(0, str(Path(folder) / "p2l"))
    from auto_eval_utils import train_aggr_prob
    from model import HeadOutputs

    coefs, eta = rankings(PROMPTS)
    output = HeadOutputs(coefs=coefs, eta=eta[:, None])
    return lambda: train_aggr_prob([""] * MODELS, output, None, "bag", is_batch=False)[0][0].tolist()


def our_marginal(_: str) -> Callable[[], list[float]]:
    from p2l.leaderboard import fit

    frame = votes()
    return lambda: fit(frame, "bt-tie").ranking.coefs.tolist()


def arena_rank_marginal(_: str) -> Callable[[], list[float]]:
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    frame = votes()

    def run() -> list[float]:
        data = PairDataset.from_pandas(frame)
        found = BradleyTerry(n_competitors=len(data.competitors)).compute_ratings_and_cis(data)
        order = np.argsort(found["competitors"])
        return (np.asarray(found["ratings"])[order] * np.log(10) / 400).tolist()

    return run


def evalica_marginal(_: str) -> Callable[[], list[float]]:
    import evalica

    frame = votes()
    winners = {"tie": evalica.Winner.Draw, "model_a": evalica.Winner.X, "model_b": evalica.Winner.Y}

    def run() -> list[float]:
        named = [winners[winner] for winner in frame["winner"]]
        scores = evalica.bradley_terry(frame["model_a"], frame["model_b"], named, limit=1000).scores
        return np.log(scores.sort_index()).tolist()

    return run


def our_scale(_: str) -> Callable[[], list[float]]:
    from p2l.data.battle_table import BattleTable
    from p2l.evaluation import RankedVotes, SubsetPlan
    from p2l.evaluation.candidates import Leaderboards, make_candidate
    from p2l.evaluation.subset_comparisons import aggregation_scale
    from p2l.outcomes import GRK
    from p2l.types import Ranking

    rng, rows = np.random.default_rng(0), np.arange(SCALE_PROMPTS)
    a = rng.integers(MODELS, size=SCALE_PROMPTS)
    outcome_shares = np.eye(4, dtype=np.float32)[rng.integers(4, size=SCALE_PROMPTS)]
    b, weight = (a + rng.integers(1, MODELS, size=SCALE_PROMPTS)) % MODELS, np.ones(SCALE_PROMPTS, dtype=np.float32)
    battles = BattleTable(a, b, outcome_shares, weight, tuple(f"model-{i:03d}" for i in range(MODELS)))
    boards = Leaderboards(RankedVotes(battles, Ranking(*rankings(SCALE_PROMPTS)), rows, rows), GRK, None, "none")
    plan = SubsetPlan(SCALE_METRICS, SCALE_SIZES, SCALE_SAMPLES)

    def run() -> list[float]:
        candidate = make_candidate("p2l", boards)
        scale, _ = aggregation_scale(plan, candidate, boards.of("marginal-gt"), boards.votes, GRK, seed=0)
        return [values[SCALE_METRICS[0]] for values in scale.values()]

    return run


SIDES: dict[str, tuple[str, Callable[[str], Callable[[], list[float]]]]] = {
    "aggregate ours": ("aggregate", our_aggregate),
    "aggregate upstream": ("aggregate", upstream_aggregate),
    "marginal ours": ("marginal", our_marginal),
    "marginal arena-rank": ("marginal", arena_rank_marginal),
    "marginal evalica": ("marginal", evalica_marginal),
    "scale ours": ("scale", our_scale),
}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_side(side: str, upstream: str, repeat: int) -> None:
    """Run one side in this process; return time of the first and best call, peak memory, and the result."""
    run = SIDES[side][1](upstream)
    torch.randn(64, 64) @ torch.randn(64, 64)  # starts the threads
    before, seconds, found = peak_mb(), [], []
    for _ in range(repeat):
        start = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "mb": peak_mb() - before, "found": found}))


def measure(side: str, upstream: str, repeat: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--upstream", upstream, "--repeat", str(repeat)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    seconds = result["seconds"]
    print(
        f"{side:20s} first call {seconds[0]:7.3f} s   median {np.median(seconds):7.3f} s   + {result['mb']:5.0f} MB",
        flush=True,
    )
    return result


def compare(ours: dict[str, Any], peer: dict[str, Any], name: str) -> None:
    """Return ratios of first calls and medians, and the largest difference of centred coefficients."""
    mine, theirs = (np.array(side["found"]) for side in (ours, peer))
    apart = np.abs(mine - mine.mean() - (theirs - theirs.mean())).max()
    first = peer["seconds"][0] / ours["seconds"][0]
    median = np.median(peer["seconds"]) / np.median(ours["seconds"])
    print(f"  {name}: {first:.1f} x our time at the first call, {median:.1f} x at the median; coefs within {apart:.1e}")


def beside(job: str, ours: str, others: dict[str, str], args: argparse.Namespace) -> list[Figure]:
    """Measure our side of a job, then each other one; return the first and the median call and the memory of all."""
    mine = measure(ours, "", args.repeat)
    theirs = {name: measure(side, args.upstream, args.repeat) for name, side in others.items()}
    for name, result in theirs.items():
        compare(mine, result, name)
    kinds: dict[str, tuple[str, Callable[[dict[str, Any]], float]]] = {
        "first call": ("s", lambda side: float(side["seconds"][0])),
        "median call": ("s", lambda side: float(np.median(side["seconds"]))),
        "memory added": ("MB", lambda side: float(side["mb"])),
    }
    return [
        Figure(f"{job}: {kind}", unit, value(mine), {name: value(result) for name, result in theirs.items()})
        for kind, (unit, value) in kinds.items()
        if all(map(value, (mine, *theirs.values())))  # none is added if making the votes took more
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--upstream", default="", help="folder of lmarena/p2l")
    parser.add_argument("--repeat", type=int, default=5, help="calls of each side")
    parser.add_argument("--skip-scale", action="store_true", help="leave the job of minutes out")
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        return run_side(args.side, args.upstream, args.repeat)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    sides = {"published code": "aggregate upstream"} if args.upstream else {}
    figures = beside(f"{PROMPTS:,} rankings of {MODELS} LLMs to one leaderboard", "aggregate ours", sides, args)
    modules = {"arena-rank": "arena_rank", "evalica": "evalica"}
    sides = {name: f"marginal {name}" for name, module in modules.items() if find_spec(module)}
    figures += beside(f"{VOTES:,} votes over {VOTED_MODELS} LLMs to one leaderboard", "marginal ours", sides, args)
    save(args.json, figures)
    if not args.skip_scale:
        measure("scale ours", "", 1)
    return None


if __name__ == "__main__":
    main()
