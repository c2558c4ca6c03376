"""Predicted costs against one mean cost for each LLM: how near they are, and what routing gains.

The features are frozen states of all-MiniLM-L6-v2. Rewards and log costs are fitted to the training table in closed
form, and everything is measured on the test table; without one, on a fifth of the training prompts. Both sides route by
the same predicted rewards and differ in the expected costs alone: the LLM's mean, or the cost head's prediction.

- stream: ``StreamBudget`` from a cold start, each choice settled at what it cost, over seeded orders of the prompts.
- LP: the budget on each prompt (``simple-lp``), compared at equal mean cost.

Intervals are paired bootstraps over prompts (95 %), after the mean over the orders.

    python benchmarks/predicted_cost.py TRAIN [--test TABLE] [--budgets 8.29e-5 2.35e-4 ...] [--orders 10]

A table has the columns prompt, model, score and cost; or JSON lines with ``arms``: {model: {reward, cost}}.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from encoders import checkpoint_of

from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.data.score_votes import hold_out
from p2l.evaluation.cost_report import cost_head_of, describe_costs
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import curves, interval
from p2l.statistics.ridge import ridge

Prompts = Sequence[tuple[str, ...]]
MEAN, PREDICTED = "mean", "predicted"


def read(path: str, folder: Path) -> MeasuredScores:
    """Read a table of measured scores; one with ``arms`` is rewritten in ``folder`` first."""
    frame = pd.read_json(path, lines=True) if path.endswith(".jsonl") else None
    if frame is not None and "arms" in frame:
        rows = [
            {"prompt": row.prompt, "model": model, "score": arm["reward"], "cost": arm["cost"]}
            for row in frame.itertuples()
            for model, arm in row.arms.items()
        ]
        path = str(folder / f"{Path(path).stem}.parquet")
        pd.DataFrame(rows).to_parquet(path)
    return MeasuredSource(path, key=None, per=1.0, above_zero=True).load()


def predicted_scores(known: np.ndarray, score: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return predicted scores of the prompts with these hidden states."""
    scale = known.std(axis=0)
    scale[scale == 0] = 1.0
    fit = ridge(known / scale, score)
    return wanted / scale @ fit.weight.T + fit.bias


def stream_shares(
    score: np.ndarray, cost: np.ndarray, budgets: np.ndarray, test: MeasuredScores, orders: int
) -> np.ndarray:
    """Return the shares of the stream, mean over seeded orders of the prompts."""
    return np.mean([policies.stream(score, cost, budgets, test, seed) for seed in range(orders)], axis=0)


def report_routing(
    score: np.ndarray, costs: dict[str, np.ndarray], test: MeasuredScores, budgets: np.ndarray, orders: int
) -> list[dict[str, Any]]:
    """Print reward and spending of both sides at each budget, and their difference."""
    chosen = {}
    for name, cost in costs.items():
        chosen[f"stream, {name}"] = stream_shares(score, cost, budgets, test, orders)
        chosen[f"LP, {name}"] = policies.per_prompt(score, cost, budgets)
    found = curves(chosen, dict.fromkeys(chosen, budgets), test)
    rows = []
    print("\n| budget | stream, mean cost | over | stream, predicted | over | difference | LP at equal cost |")
    print("|---|---|---|---|---|---|---|")
    for at, budget in enumerate(budgets.tolist()):
        old, new = (found[f"stream, {name}"] for name in (MEAN, PREDICTED))
        gain = interval(new.quality[:, at] - old.quality[:, at])
        lp_cost = [float(found[f"LP, {MEAN}"].cost[0, at])]
        lp_gain = interval((found[f"LP, {PREDICTED}"].at(lp_cost) - found[f"LP, {MEAN}"].at(lp_cost))[:, 0])
        over = [float(side.cost[0, at] / budget - 1) for side in (old, new)]
        rewards = [float(side.quality[0, at]) for side in (old, new)]
        print(
            f"| {budget:g} | {rewards[0]:.4f} | {over[0]:+.2%} | {rewards[1]:.4f} | {over[1]:+.2%} | "
            f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] | "
            f"{lp_gain.value:+.4f} [{lp_gain.low:+.4f}, {lp_gain.high:+.4f}] |",
            flush=True,
        )
        rows.append({"budget": budget, "rewards": rewards, "over": over, "gain": vars(gain), "lp_gain": vars(lp_gain)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train")
    parser.add_argument("--test", help="looked at once; without it, a fifth of the training prompts")
    parser.add_argument("--budgets", type=float, nargs="+", help="mean cost of a prompt; default: six over the LLMs")
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("outputs/predicted_cost"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    known = read(args.train, args.work)
    known, test = (known, read(args.test, args.work)) if args.test else hold_out(known, 0.2, seed=0)
    test = test.among(known.models)
    if args.budgets is None:
        mean = known.cost.mean(axis=0)
        args.budgets = np.geomspace(1.25 * mean.min(), mean.max(), 6).tolist()
    checkpoint = checkpoint_of("float32")

    states: dict[Prompts, torch.Tensor] = {}

    def hidden_of(prompts: Prompts) -> torch.Tensor:
        if prompts not in states:
            states[prompts] = rank_with_hidden_states(checkpoint, prompts, token_budget=4096)[1]
        return states[prompts]

    head = cost_head_of(hidden_of, known, test, known.models, "dollars")
    print(describe_costs(head.report), flush=True)
    print(json.dumps(head.report, indent=1))
    hidden = [hidden_of(side.prompts).double().numpy() for side in (known, test)]
    score = predicted_scores(hidden[0], known.score, hidden[1])
    with torch.no_grad():
        predicted = head(hidden_of(test.prompts)).double().numpy()
    costs = {MEAN: np.broadcast_to(known.cost.mean(axis=0), score.shape), PREDICTED: predicted}
    rows = report_routing(score, costs, test, np.array(args.budgets), args.orders)
    if args.json:
        args.json.write_text(json.dumps({"report": head.report, "routing": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
