"""Processor time of one routing decision among 100 models with and without ``risk``, in turns in one run.

    OMP_NUM_THREADS=1 python benchmarks/risk_cost.py

A decision is ``Router.decide`` on a ranking with its states; the budget is the median cost. The least median of several
rounds is shown, and what the risk adds to it. ``optimal-lp`` with "expected" computes fewer win rates than all models
have, and without a risk only those of the models that no cheaper one beats.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from p2l.head_posterior import HeadPosterior
from p2l.outcomes import BT, GRK, OutcomeFamily
from p2l.routing import Optimizer, Risk, make_router
from p2l.types import Ranking

MODELS, PROMPTS, AT_ONCE = 100, 20, 20


def posterior(family: OutcomeFamily, hidden: int, rng: np.random.Generator) -> HeadPosterior:
    outputs = MODELS + family.num_eta
    return HeadPosterior(
        centre=np.zeros(hidden),
        directions=np.eye(hidden),
        curvature=rng.gamma(1.0, 1.0, hidden),
        output_directions=rng.normal(size=(outputs, outputs)) / outputs,
        output_information=rng.gamma(1.0, 100.0, outputs),
        level_covariance=np.eye(outputs) / 100,
        scale=1.0,
        residual=0.1,
        num_models=MODELS,
    )


def microseconds(decide: Callable[[Ranking], object], rankings: list[Ranking]) -> float:
    """Return the median processor time of a decision."""
    times = []
    for ranking in rankings:
        start = time.process_time()
        for _ in range(AT_ONCE):
            decide(ranking)
        times.append((time.process_time() - start) / AT_ONCE)
    return float(np.median(times)) * 1e6


def compare(optimizer: Optimizer, family: OutcomeFamily, hidden: int, rounds: int) -> None:
    """Print the times of one optimiser and family."""
    rng = np.random.default_rng(0)
    costs, found = rng.gamma(1.0, 5.0, MODELS), posterior(family, hidden, rng)
    eta = np.array(0.1) if family.num_eta else None
    rankings = [
        Ranking(rng.normal(size=MODELS), eta, None, rng.normal(size=hidden).astype(np.float32)) for _ in range(PROMPTS)
    ]
    risks: list[Risk | None] = [None, 0.2]
    if optimizer == "optimal-lp" or not family.shift_invariant:
        risks.append("expected")
    best: dict[Risk | None, float] = {}
    for _ in range(rounds):
        for risk in risks:
            router = make_router(optimizer, family, costs, risk=risk, posterior=found)
            decide = lambda ranking, router=router: router.decide(ranking, float(np.median(costs)), rng)  # noqa: E731
            best[risk] = min(best.get(risk, np.inf), microseconds(decide, rankings))
    added = ", ".join(f"risk {risk} {best[risk] - best[None]:+.1f}" for risk in risks[1:])
    print(f"{optimizer} {family.name}, {hidden} hidden units: {best[None]:.1f} us without; {added} us", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for hidden in (384, 1536):
        for family in (BT, GRK):
            for optimizer in ("simple-lp", "optimal-lp"):
                compare(optimizer, family, hidden, args.rounds)


if __name__ == "__main__":
    main()
