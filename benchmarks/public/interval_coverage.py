"""Measure how often the intervals of ``p2l posterior`` hold what is true, on simulated arenas.

    python benchmarks/public/interval_coverage.py --arenas 200 --votes 1000 10000 100000 --work outputs/public

An arena has 24 LLMs whose strengths on each prompt are known. The head is the most probable one on hidden states of a
frozen MiniLM; a fifth of the prompts is held out, and an eighth as many votes on these sets the width of the intervals.
Printed are, as means over arenas with their standard deviation: the share of the differences of two LLMs on a held-out
prompt that the 95 % interval holds, the share of the prompts on which all 276 hold at once, and the half-width beside
the root mean square error; then the share of the LLMs whose points on one leaderboard for a topic, and for all held-out
prompts, the interval of the model's error holds. The seeds are ``--first`` and those after it; the choices in
``p2l/uncertainty`` were made on seeds 0 to 3, that for groups of prompts on seeds 100 to 103.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cached_states import StateCache

from p2l.data.prompt_encoder import Prompt
from p2l.data.simulated import SimulatedArena, load_prompts
from p2l.data.simulated.arena_truth import draw_votes, split_prompts
from p2l.data.vote_table import VoteTable
from p2l.head_posterior import HeadPosterior
from p2l.insight.group_leaderboards import group_leaderboard
from p2l.leaderboard import fit
from p2l.outcomes import GRK
from p2l.statistics.all_pairs import all_pairs_quantile
from p2l.types import Ranking
from p2l.uncertainty.calibrate_posterior import calibrated
from p2l.uncertainty.most_probable_head import most_probable_layer
from p2l.uncertainty.posterior_fit import LinearOutputs, posterior_of

LEVEL, Z = 0.95, 1.959964


class Prompts:
    """The prompts that ship with the package, with their hidden states."""

    def __init__(self, work: Path) -> None:
        self.frame = load_prompts()
        keys: list[Prompt] = [tuple(turns) for turns in self.frame["prompt"]]
        self._states = dict(zip(keys, StateCache(work / "states").states(keys).astype(np.float64), strict=True))

    def states(self, prompts: list[Prompt]) -> np.ndarray:
        return np.stack([self._states[tuple(turns)] for turns in prompts])


def votes_on(arena: SimulatedArena, frame: pd.DataFrame, number: int, rng: np.random.Generator) -> VoteTable:
    """Draw votes between random LLMs on random prompts."""
    models = len(arena.models)
    a = rng.integers(models, size=number)
    b = (a + rng.integers(1, models, size=number)) % models
    votes = draw_votes(arena, frame, rng.integers(len(frame), size=number), a, b, rng)
    return VoteTable.from_frame(votes, arena.models)


def one_arena(prompts: Prompts, seed: int, number: int) -> dict[str, float]:
    rng, arena = np.random.default_rng((seed, number)), SimulatedArena.from_seed(seed=seed)
    train, held_out = split_prompts(prompts.frame, seed=seed)
    votes, val = votes_on(arena, train, number, rng), votes_on(arena, held_out, max(number // 8, 200), rng)
    hidden, hidden_of_val = prompts.states(votes.prompts), prompts.states(val.prompts)
    start = time.perf_counter()
    marginal = fit(votes, GRK.name).ranking
    level = np.append(marginal.coefs.numpy(), marginal.eta.numpy())
    layer = most_probable_layer(votes, hidden, level, GRK)
    posterior = posterior_of(layer, votes, hidden, GRK)
    posterior = calibrated(posterior, val, layer.ranking(hidden_of_val, GRK), hidden_of_val, GRK)
    seconds = time.perf_counter() - start
    losses = {f"{name} log loss": loss for name, loss in posterior.report["log_loss"].items()}
    shares = held(posterior, layer, arena, held_out, prompts) | held_of_groups(
        posterior, layer, arena, held_out, prompts
    )
    return {**shares, **losses, "seconds": seconds}


def held(
    posterior: HeadPosterior, layer: LinearOutputs, arena: SimulatedArena, frame: pd.DataFrame, prompts: Prompts
) -> dict[str, float]:
    """Compare all differences of two LLMs on these prompts with the truth."""
    hidden, models = prompts.states(frame["prompt"].tolist()), len(arena.models)
    errors = layer.ranking(hidden, GRK).coefs.numpy() - arena.true_coefs(frame)
    covariance = posterior.covariance(posterior.states(hidden))
    a, b = np.triu_indices(models, 1)
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    deviation = np.sqrt(variances[:, a] + variances[:, b] - 2 * covariance[:, a, b])
    z = np.abs(errors[:, a] - errors[:, b]) / deviation
    return {
        "pairs": float((z < Z).mean()),
        "all at once": float((z.max(axis=1) < all_pairs_quantile(LEVEL, models)).mean()),
        "half-width": Z * float(deviation.mean()),
        "error": float(np.sqrt(((errors[:, a] - errors[:, b]) ** 2).mean())),
    }


def held_of_groups(
    posterior: HeadPosterior, layer: LinearOutputs, arena: SimulatedArena, frame: pd.DataFrame, prompts: Prompts
) -> dict[str, float]:
    """Compare the points of the LLMs on each topic, and on all of these prompts, with the truth for the same prompts.

    The prompts are given, so that only the error of the model counts.
    """
    hidden = prompts.states(frame["prompt"].tolist())
    states = torch.from_numpy(posterior.states(hidden))
    rankings = layer.ranking(hidden, GRK)._replace(states=states)
    true = Ranking(*(torch.from_numpy(values) for values in (arena.true_coefs(frame), arena.true_eta(frame))))
    groups = {
        "topic": list(frame.groupby("topic", sort=False).indices.values()),
        "all prompts": [np.arange(len(frame))],
    }
    shares = {}
    for name, all_rows in groups.items():
        within, widths = [], []
        for rows in all_rows:
            board = group_leaderboard(arena.models, GRK, rankings, rows, posterior, alike=name == "topic")
            truth = group_leaderboard(arena.models, GRK, true, rows)
            half = Z * board.table().set_index("model").loc[list(arena.models), "error_model"].to_numpy()
            within.append(np.abs(board.elo - truth.elo) < half)
            widths.append(half)
        shares |= {name: float(np.mean(within)), f"half-width of {name}, Elo": float(np.mean(widths))}
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arenas", type=int, default=200)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first arena")
    parser.add_argument("--votes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--work", type=Path, default=Path("outputs/public"), help="for hidden states and figures")
    args = parser.parse_args()
    prompts = Prompts(args.work)
    for number in args.votes:
        rows = []
        for seed in range(args.first, args.first + args.arenas):
            rows.append(one_arena(prompts, seed, number))
            print(f"{number:,} votes, arena {len(rows)} of {args.arenas}", end="\r", flush=True)
        table = pd.DataFrame(rows)
        shown = ", ".join(f"{name} {mean:.4f} ({table[name].std():.4f})" for name, mean in table.mean().items())
        print(f"{number:,} votes, {len(rows)} arenas, mean (standard deviation): {shown}", flush=True)
        (args.work / f"interval_coverage_{number}.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
