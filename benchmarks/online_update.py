"""Time what learning from traffic costs: an update, and what a decision takes more, at 100 LLMs.

    python benchmarks/online_update.py

Times are of the process (one thread), the least of five runs.
"""

import time
from collections.abc import Callable

import numpy as np

from p2l.online.exploration import Exploration, ExploreOptions
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import FilterOptions, HeadFilter
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import GRK, RK, OutcomeFamily

MODELS, HIDDEN, VOTES, DRAWS, KEYS, RUNS = 100, 384, 1000, 32, 10, 5


def seconds(step: Callable[[], object], repeats: int = 1) -> float:
    """Return the least time of a step over some runs."""
    found = []
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(repeats):
            step()
        found.append((time.process_time() - started) / repeats)
    return min(found)


def measure(family: OutcomeFamily) -> None:
    """Print the times of a family."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((2 * VOTES, HIDDEN)) @ rng.standard_normal((HIDDEN, HIDDEN)) / HIDDEN**0.5
    names = [f"m{at}" for at in range(MODELS)]
    head = OnlineHead.of(cold_posterior(states, MODELS, family), names, family)
    chain = HeadFilter(head, FilterOptions(memory=5000, draws=DRAWS))
    start = chain.start()
    first = rng.integers(0, MODELS, VOTES)
    pair = first, (first + rng.integers(1, MODELS, VOTES)) % MODELS
    features, outputs = head.features(states[:VOTES]), rng.standard_normal((VOTES, head.num_outputs))
    shares = np.eye(4)[rng.integers(0, 3, VOTES)]
    votes = Feedback.of_votes(features, outputs, pair, shares, [f"key {at % KEYS}" for at in range(VOTES)])
    state = chain.update(start, votes)
    cost = np.sort(rng.random(MODELS))
    exploration, able = Exploration(ExploreOptions()), np.ones(MODELS, dtype=bool)
    coefs, flat = outputs[0, :MODELS], state.draws[:, :MODELS].reshape(-1, features.shape[1])

    def corrected() -> np.ndarray:
        return outputs[0] + state.correction(features[0])

    def explored() -> np.ndarray:
        draws = coefs + (flat @ features[0]).reshape(DRAWS, MODELS)
        return exploration.probabilities(coefs, draws, cost, 0.1, able)

    print(f"{family.name}: {head}")
    print(f"  {VOTES:,} votes of {KEYS} keys: {seconds(lambda: chain.update(start, votes)):.2f} s")
    print(f"  one vote: {1e3 * seconds(lambda: chain.update(start, votes.rows(slice(0, 1))), 5):.1f} ms")
    print(f"  a decision with what was learned: + {1e6 * seconds(corrected, 1000):.1f} us")
    print(f"  a decision that explores, with its propensities: + {1e6 * seconds(explored, 500):.0f} us")


if __name__ == "__main__":
    for one in (GRK, RK):
        measure(one)
