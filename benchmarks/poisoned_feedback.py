"""Measure how far a flood of feedback from one key moves a head that honest keys taught, with and without its bound.

    python benchmarks/poisoned_feedback.py

Ten drawn heads of six LLMs: 400 honest scores, and 1,000 scores of one key that says the last LLM is always right, in a
random order. Distances are in standard deviations of the prior, the largest over 300 prompts and the LLMs.
"""

import numpy as np

from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import FilterOptions, HeadFilter
from p2l.online.influence import NO_LIMIT, KeyLimit, KeyLimits
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import GRK

MODELS, HIDDEN, HONEST, POISONED, PROMPTS, HEADS = 6, 8, 400, 1000, 300, 10
BOUNDS = (0.25, 0.5, 1.0, None)


def main() -> None:
    print("| bound | moved by the key itself | moved in all: mean of heads | largest |\n|---|---|---|---|")
    found = {bound: np.array([moved(seed, bound) for seed in range(HEADS)]) for bound in BOUNDS}
    for bound, sizes in found.items():
        name = "none" if bound is None else bound
        print(f"| {name} | {sizes[:, 0].max():.2f} | {sizes[:, 1].mean():.2f} | {sizes[:, 1].max():.2f} |")


def moved(seed: int, bound: float | None) -> tuple[float, float]:
    """Return the largest change of an output by the key itself, and in all."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((1000, HIDDEN)) @ rng.standard_normal((HIDDEN, HIDDEN))
    head = OnlineHead.of(cold_posterior(states, MODELS, GRK), [f"m{at}" for at in range(MODELS)], GRK)
    honest, flood = _scores(head, head.features(states), rng)
    limits = KeyLimits(KeyLimit(most_shift=bound, most_evidence=None), {"honest": NO_LIMIT})
    chain = HeadFilter(head, FilterOptions(limits=limits))
    order = rng.permutation(len(honest) + len(flood))
    alone = chain.update(chain.start(), honest)
    both = chain.update(chain.start(), Feedback.joined((honest, flood)).rows(order))
    look = head.features(states[:PROMPTS])
    deviation = head.deviation(look)[:, :MODELS]
    own = np.abs(look @ both.keys["flood"].shift.T)[:, :MODELS]
    total = np.abs(both.correction(look) - alone.correction(look))[:, :MODELS]
    return float((own / deviation).max()), float((total / deviation).max())


def _scores(head: OnlineHead, features: np.ndarray, rng: np.random.Generator) -> tuple[Feedback, Feedback]:
    """Return scores by a truth that is drawn from the prior, and those of the flood."""
    truth = (head.roots @ rng.standard_normal((len(head.prior), head.num_outputs, 1)))[..., 0].T
    at, model = rng.integers(0, len(features), HONEST), rng.integers(0, MODELS, HONEST)
    chance = 1 / (1 + np.exp(-(features[at] @ truth.T)[np.arange(HONEST), model]))
    right = (rng.random(HONEST) < chance).astype(np.float64)
    honest = Feedback.of_scores(features[at], np.zeros((HONEST, MODELS + 1)), model, right, ["honest"] * HONEST)
    at, last = rng.integers(0, len(features), POISONED), np.full(POISONED, MODELS - 1)
    outputs = np.zeros((POISONED, MODELS + 1))
    return honest, Feedback.of_scores(features[at], outputs, last, np.ones(POISONED), ["flood"] * POISONED)


if __name__ == "__main__":
    main()
