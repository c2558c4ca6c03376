"""Time of one routing decision among 100 models: p2l compared to the published linear programs by cvxpy, in one
process.

The other side is the published code if its folder is given (it needs cvxpy), else the same programs written here, if
cvxpy is installed. The sides decide the same prompts in alternation; the ratio is that of medians over rounds. With
--before another commit of p2l is the other side: both run in processes of their own, in turn, and minima are compared.

    python benchmarks/decision.py [--upstream <folder with route/cost_optimizers.py>] [--before checkout] [--rounds 5]
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from figures import Figure, save

from p2l.outcomes import BT
from p2l.routing import CachePrices, PrefixPrices, make_router
from p2l.types import Ranking

MODELS, PROMPTS, OURS_AT_ONCE = 100, 40, 50
Decide = Callable[[np.ndarray, float], object]


def ours(optimizer: str, costs: np.ndarray, *, with_scores: bool) -> Decide:
    """Return the decision of p2l; ``with_scores`` adds the scores and the router's coefficient, computed on demand."""
    router, rng = make_router(optimizer, BT, costs), np.random.default_rng(0)

    def decide(coefs: np.ndarray, budget: float) -> object:
        decision = router.decide(Ranking(coefs, None), budget, rng)
        return (decision.scores, decision.strength) if with_scores else decision.model

    return decide


def in_session(optimizer: str, costs: np.ndarray) -> Decide:
    """Return the decision of p2l in a conversation of 60,000 tokens, which two models' prompt caches hold in part."""
    router, rng = make_router(optimizer, BT, costs), np.random.default_rng(0)
    prices = PrefixPrices.of([CachePrices(cost * 1e-6, cost * 1.25e-6, cost * 1e-7) for cost in costs.tolist()])

    def decide(coefs: np.ndarray, budget: float) -> object:
        added = prices.costs(60_000, [(3, 60_000), (17, 20_000)]).per_request(2.0)
        return router.at_costs(router.costs + added).decide(Ranking(coefs, None), budget * 1.02, rng).model

    return decide


def upstream(optimizer: str, costs: np.ndarray, folder: str | None) -> Decide:
    """Return the decision of the published optimizer, or of its linear program."""
    if folder is None:
        return linear_program(optimizer, costs)
    sys.path.insert(0, folder)
    select = import_module("route.cost_optimizers").COST_OPTIMIZERS[optimizer].select_model
    names, weights = [f"model-{i}" for i in range(MODELS)], np.full(MODELS, 1 / MODELS)

    def decide(coefs: np.ndarray, budget: float) -> object:
        extra = {"opponent_scores": coefs, "opponent_distribution": weights} if optimizer == "optimal-lp" else {}
        return select(budget, names, costs, coefs, **extra)

    return decide


def linear_program(optimizer: str, costs: np.ndarray) -> Decide:
    import cvxpy as cp

    def decide(coefs: np.ndarray, budget: float) -> object:
        gap = coefs[:, None] - coefs
        score = coefs if optimizer == "simple-lp" else (1 / (1 + np.exp(-gap))).mean(axis=1)
        shares = cp.Variable(MODELS)
        cp.Problem(cp.Maximize(score @ shares), [costs @ shares <= budget, cp.sum(shares) == 1, shares >= 0]).solve()
        return shares.value

    return decide


def seconds(decide: Decide, coefs: np.ndarray, budgets: np.ndarray, repeat: int) -> float:
    """Return the median processor time of a decision, which other work on the machine does not add to."""
    times = []
    for row, budget in zip(coefs, budgets.tolist()):
        start = time.process_time()
        for _ in range(repeat):
            decide(row, budget)
        times.append((time.process_time() - start) / repeat)
    return float(np.median(times))


def compare_checkouts(before: Path, rounds: int) -> None:
    """Print the least time of each decision by this checkout and by another, in turn."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for side, checkout in (("before", before), ("now", Path(__file__).parents[1])):
            for name, microseconds in decisions_of(checkout.resolve()):
                own = best.setdefault(name, {})
                own[side] = min(own.get(side, microseconds), microseconds)
    for name, own in best.items():
        ratio = own["before"] / own["now"]
        print(f"{name}: before {own['before']:.1f} us, now {own['now']:.1f} us; ratio {ratio:.2f}")


def decisions_of(checkout: Path) -> list[tuple[str, float]]:
    """Run the benchmark of a checkout once; return the microseconds of each decision."""
    command = [sys.executable, "benchmarks/decision.py", "--rounds", "1", "--alone"]
    known = "--alone" in (checkout / "benchmarks" / "decision.py").read_text()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command if known else command[:-1], cwd=checkout, env=environment, text=True, capture_output=True, check=True
    )
    return [(name, float(value)) for name, value in re.findall(r"^(.+): ours ([\d.]+) us", run.stdout, re.MULTILINE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", help="folder that holds route/cost_optimizers.py")
    parser.add_argument("--before", type=Path, help="folder of another commit of this project, measured in turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    parser.add_argument("--alone", action="store_true", help="without cvxpy")
    arguments = parser.parse_args()
    if arguments.before is not None:
        compare_checkouts(arguments.before, arguments.rounds)
        return
    rng = np.random.default_rng(0)
    costs, coefs = rng.gamma(1.0, 5.0, MODELS), rng.normal(size=(PROMPTS, MODELS))
    budgets = rng.uniform(np.quantile(costs, 0.05), np.quantile(costs, 0.6), PROMPTS)
    peer = find_spec("cvxpy") is not None and not arguments.alone
    figures = []
    for optimizer in ("simple-lp", "optimal-lp"):
        sides = {
            "model": ours(optimizer, costs, with_scores=False),
            "model, scores, strength": ours(optimizer, costs, with_scores=True),
            "model, in a session": in_session(optimizer, costs),
        }
        theirs = upstream(optimizer, costs, arguments.upstream) if peer else None
        for name, decide in sides.items():
            rounds = []
            for _ in range(arguments.rounds):
                mine = seconds(decide, coefs, budgets, OURS_AT_ONCE)
                rounds.append((mine, seconds(theirs, coefs, budgets, 1) if theirs else np.nan))
            own, other = np.array(rounds).T * 1e6
            others = {"cvxpy": float(np.median(other))} if theirs else {}
            figures.append(Figure(f"{optimizer}, 100 models: {name}", "us", float(np.median(own)), others))
            print(f"{optimizer}, {name}: ours {np.median(own):.1f} us [{own.min():.1f}, {own.max():.1f}]", end="")
            if theirs:
                ratio = other / own
                low, high = ratio.min(), ratio.max()
                print(f"; cvxpy {np.median(other):.0f} us; ratio {np.median(ratio):.0f} [{low:.0f}, {high:.0f}]")
            else:
                print("; cvxpy is not installed, no comparison")
    save(arguments.json, figures)


if __name__ == "__main__":
    main()
