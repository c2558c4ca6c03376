"""Points of a known law."""

import numpy as np

from p2l.scaling import Observations, ScalingLaw, ScalingPoint

TRUTH = ScalingLaw(e=1.1, a=40.0, alpha=0.45, b=300.0, beta=0.75)
SIZES, VOTES = (1.8e6, 3.6e6, 5.3e6, 10.7e6), (1e4, 2e4, 4e4, 8e4)


def simulate(law: ScalingLaw = TRUTH, scatter: float = 0.0, seed: int = 0) -> Observations:
    """Simulate four sizes x four numbers of votes; ``scatter`` is the standard deviation of log L."""
    sizes, votes = (grid.ravel() for grid in np.meshgrid(SIZES, VOTES, indexing="ij"))
    noise = np.random.default_rng(seed).normal(size=len(sizes)) * scatter
    return Observations(sizes, votes, law.loss(sizes, votes) * np.exp(noise))


def points(seen: Observations) -> list[ScalingPoint]:
    return [
        ScalingPoint(
            parameters=int(size),
            parameters_with_embeddings=int(size) + 12_000_000,
            votes=int(votes),
            prompts=int(votes) // 20,
            steps=int(votes) // 320,
            tokens=int(votes) * 7,
            flops=6.0 * size * votes * 7,
            seconds=60.0,
            test_log_loss=float(loss),
            test_marginal=1.5,
        )
        for size, votes, loss in zip(*seen, strict=True)
    ]
