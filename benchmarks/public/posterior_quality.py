"""Compare the posterior of ``p2l posterior`` with what it replaces, on held-out votes of MMLU-Pro.

    python benchmarks/public/posterior_quality.py --data <folder of the set> --work outputs/public

All heads read the states of a frozen MiniLM. The posterior belongs to the most probable head; its scale and residual
are set by the validation votes. Beside it: the head alone, five heads that AdamW trains from random weights with the
votes in their own order (an ensemble; the learning rate is the one of least validation loss), and the most probable
heads of the votes on resampled prompts (a bootstrap). Printed are the log loss and the calibration error of the
averaged probabilities on the test votes, with 95 % intervals over prompts, and the half-width of the 95 % interval of
the difference of two LLMs on a test prompt: 1.96 standard deviations.

``--share`` keeps a share of the prompts of the training and validation votes, always the same ones.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_states import MINILM, StateCache
from prompt_share import in_share

from p2l.data.readers import read_table
from p2l.data.vote_table import VoteTable
from p2l.evaluation.calibration import calibration_error, centred_interval, gaps_by_prompt
from p2l.heads import RankingHead
from p2l.leaderboard import fit
from p2l.losses import NegativeLogLikelihood
from p2l.outcomes import GRK
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums
from p2l.types import Battle, Ranking
from p2l.uncertainty.calibrate_posterior import calibrated
from p2l.uncertainty.most_probable_head import most_probable_layer
from p2l.uncertainty.posterior_fit import LinearOutputs, posterior_of
from p2l.uncertainty.predictive import predictive_log_probs

Z, MEMBERS, EPOCHS, BATCH = 1.959964, 5, 6, 512
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
Hidden = np.ndarray


class Votes:
    """The votes of one part, with the hidden states of their prompts."""

    def __init__(self, table: VoteTable, hidden: Hidden) -> None:
        self.table, self.hidden = table, hidden

    @classmethod
    def read(cls, path: Path, models: Sequence[str] | None, share: float, cache: StateCache) -> "Votes":
        frame = read_table(str(path))
        frame = frame[in_share(list(frame["prompt"]), share)]
        known = models or sorted({*frame["model_a"], *frame["model_b"]})
        table = VoteTable.from_frame(frame, known)
        return cls(table, cache.states(table.prompts).astype(np.float64))

    @property
    def battle(self) -> Battle:
        table = self.table
        return Battle(*map(torch.from_numpy, (table.prompt_index, table.model_a, table.model_b)))

    def targets(self) -> torch.Tensor:
        shares = torch.from_numpy(self.table.outcome_shares)
        return shares @ GRK.target_matrix(shares)

    def log_probs(self, ranking: Ranking) -> np.ndarray:
        return battle_log_probs(GRK, ranking, self.battle).double().numpy()


def most_probable(votes: Votes) -> LinearOutputs:
    marginal = fit(votes.table, GRK.name).ranking
    assert marginal.eta is not None
    return most_probable_layer(votes.table, votes.hidden, np.append(marginal.coefs.numpy(), marginal.eta.numpy()), GRK)


def bootstrap(votes: Votes, draws: int) -> list[LinearOutputs]:
    """Return the most probable heads of the votes on prompts that are drawn with replacement."""
    prompts = len(votes.hidden)
    return [
        most_probable(resampled(votes, np.random.default_rng(seed).integers(prompts, size=prompts)))
        for seed in range(draws)
    ]


def resampled(votes: Votes, prompts: np.ndarray) -> Votes:
    """Return the votes on these prompts; one that comes twice is two prompts."""
    table = votes.table
    order = np.argsort(table.prompt_index, kind="stable")
    starts = np.searchsorted(table.prompt_index[order], [prompts, prompts + 1])
    counts = starts[1] - starts[0]
    rows = np.concatenate([order[first:last] for first, last in starts.T])
    drawn = replace(
        table,
        prompts=tuple(table.prompts[prompt] for prompt in prompts),
        prompt_index=np.repeat(np.arange(len(prompts)), counts),
        model_a=table.model_a[rows],
        model_b=table.model_b[rows],
        outcome_shares=table.outcome_shares[rows],
        weight=table.weight[rows],
        frame=table.frame.iloc[rows].reset_index(drop=True),
    )
    return Votes(drawn, votes.hidden[prompts])


def trained(votes: Votes, seed: int, rate: float) -> LinearOutputs:
    """Train a head as ``p2l train`` does on a frozen backbone: AdamW, random weights, shuffled votes."""
    torch.manual_seed(seed)
    head = RankingHead(votes.hidden.shape[1], len(votes.table.models), GRK)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0)
    states, targets, battle = torch.from_numpy(votes.hidden).float(), votes.targets().float(), votes.battle
    steps = EPOCHS * (len(targets) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(targets)).split(BATCH):
            own = Battle(torch.arange(len(rows)), battle.model_a[rows], battle.model_b[rows])
            ranking = head(states[battle.ranking_index[rows]])
            loss = NegativeLogLikelihood()(battle_log_probs(GRK, ranking, own), targets[rows], torch.ones(len(rows)))
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            schedule.step()
    return LinearOutputs.of(head)


def ensemble(votes: Votes, val: Votes) -> tuple[list[LinearOutputs], float]:
    """Return the members, trained at the rate of least validation loss."""
    first = {rate: trained(votes, 0, rate) for rate in RATES}
    losses = {rate: losses_of(val, val.log_probs(one.ranking(val.hidden, GRK))).mean() for rate, one in first.items()}
    best = min(losses, key=losses.__getitem__)
    return [first[best], *(trained(votes, seed, best) for seed in range(1, MEMBERS))], best


def losses_of(votes: Votes, log_probs: np.ndarray) -> np.ndarray:
    return -(votes.targets().double().numpy() * log_probs).sum(axis=1)


def of_members(votes: Votes, members: Sequence[LinearOutputs]) -> tuple[np.ndarray, np.ndarray]:
    """Return the log of the mean probabilities of heads, and the standard deviations of all differences of LLMs."""
    rankings = [one.ranking(votes.hidden, GRK) for one in members]
    log_probs = np.log(np.mean([np.exp(votes.log_probs(one)) for one in rankings], axis=0))
    coefs = np.stack([one.coefs.numpy() for one in rankings])
    a, b = np.triu_indices(coefs.shape[2], 1)
    return log_probs, (coefs[:, :, a] - coefs[:, :, b]).std(axis=0, ddof=1)


def of_posterior(votes: Votes, layer: LinearOutputs, posterior: Any) -> tuple[np.ndarray, np.ndarray]:
    states, ranking = posterior.states(votes.hidden), layer.ranking(votes.hidden, GRK)
    covariance = posterior.covariance(states)
    a, b = np.triu_indices(len(votes.table.models), 1)
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    deviation = np.sqrt(variances[:, a] + variances[:, b] - 2 * covariance[:, a, b])
    return predictive_log_probs(posterior, votes.table, ranking, states, GRK), deviation


def shown(interval: Interval) -> str:
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def report(test: Votes, found: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> dict[str, dict[str, float]]:
    """Print and return the figures of each; differences of the log loss are from the head alone."""
    point = losses_of(test, found["most probable head"][0])
    table, figures = test.table, {}
    for name, (log_probs, deviation) in found.items():
        loss = losses_of(test, log_probs)
        columns = np.zeros((len(test.hidden), 3))
        for column, values in enumerate((loss, loss - point, np.ones(len(loss)))):
            columns[:, column] = np.bincount(table.prompt_index, values, minlength=len(columns))
        weight = table.weight.astype(np.float64)
        gaps = gaps_by_prompt(np.exp(log_probs), test.targets().double().numpy(), weight, table.prompt_index)
        drawn, drawn_gaps = resampled_sums(columns, gaps)
        total = columns.sum(axis=0)
        means = [percentile_interval(total[i] / total[2], drawn[:, i] / drawn[:, 2]) for i in (0, 1)]
        error = float(calibration_error(np.asarray(gaps.sum(axis=0)), total[2:])[0])
        ece = centred_interval(error, calibration_error(drawn_gaps, drawn[:, 2]))
        width = "" if deviation is None else f", half-width {Z * deviation.mean():.3f} nats"
        print(
            f"{name:24} log loss {shown(means[0])}, minus the head's {means[1].value:+.5f} "
            f"[{means[1].low:+.5f}, {means[1].high:+.5f}], calibration error {shown(ece)}{width}",
            flush=True,
        )
        figures[name] = {
            "log_loss": means[0].value,
            "minus_head": means[1].value,
            "calibration_error": ece.value,
            "half_width": float("nan") if deviation is None else float(Z * deviation.mean()),
        }
    return figures


def timed(name: str, work: Callable[[], Any]) -> Any:
    start = time.process_time()
    found = work()
    print(f"{name}: {time.process_time() - start:.0f} CPU s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with votes_{train,val,test}.parquet")
    parser.add_argument("--work", type=Path, required=True, help="for hidden states and figures")
    parser.add_argument("--share", type=float, default=1.0, help="of the prompts to train and validate on")
    parser.add_argument("--draws", type=int, default=20, help="of the bootstrap")
    parser.add_argument("--backbone", default=MINILM, help="encoder")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the backbone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = StateCache(args.work / "states", args.backbone, dtype=args.dtype)
    train = Votes.read(args.data / "votes_train.parquet", None, args.share, cache)
    val = Votes.read(args.data / "votes_val.parquet", train.table.models, args.share, cache)
    test = Votes.read(args.data / "votes_test.parquet", train.table.models, 1.0, cache)
    print(", ".join(f"{len(one.table):,} votes on {len(one.hidden):,} prompts" for one in (train, val, test)))
    layer = timed("most probable head", lambda: most_probable(train))
    plain = timed("posterior", lambda: posterior_of(layer, train.table, train.hidden, GRK))
    posterior = timed(
        "calibration", lambda: calibrated(plain, val.table, layer.ranking(val.hidden, GRK), val.hidden, GRK)
    )
    members, rate = timed("ensemble", lambda: ensemble(train, val))
    drawn = timed("bootstrap", lambda: bootstrap(train, args.draws))
    marginal = fit(train.table, GRK.name).ranking.map(lambda x: x.expand(len(test.hidden), *x.shape))
    print(f"scale {posterior.scale}, residual {posterior.report['residual']}; AdamW at {rate:g}")
    figures = report(
        test,
        {
            "one leaderboard": (test.log_probs(marginal), None),
            "most probable head": (test.log_probs(layer.ranking(test.hidden, GRK)), None),
            "posterior": of_posterior(test, layer, plain),
            "calibrated posterior": of_posterior(test, layer, posterior),
            "one head by AdamW": (test.log_probs(members[0].ranking(test.hidden, GRK)), None),
            f"ensemble of {MEMBERS}": of_members(test, members),
            f"bootstrap of {args.draws}": of_members(test, drawn),
        },
    )
    (args.work / "posterior_quality.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
