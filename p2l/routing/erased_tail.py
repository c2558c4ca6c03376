"""Read a prompt with and without its tail, and take the cheaper decision, against strings that steer to dear models."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from p2l.arrays import to_numpy
from p2l.options import check_count
from p2l.routing.decision import Decision, Router
from p2l.types import Ranking


def erase_tail(turns: Sequence[str], characters: int) -> tuple[str, ...]:
    """Return the user turns without the last ``characters`` of the last one, of which at least half is kept.

    Raises ConfigError if ``characters`` is below 1.
    """
    check_count("characters", characters)
    *before, last = turns
    return (*before, last[: len(last) - min(characters, len(last) // 2)])


def cheapest_decision(
    router: Router,
    readings: Sequence[Ranking],
    budget: float | None,
    rng: np.random.Generator,
    mask: Bool[np.ndarray, " models"] | None = None,
) -> Decision:
    """Return the decision of least expected cost among those by each reading of one prompt; of equal ones the first.

    Readings are the rankings of the prompt and of parts of it, with the same predicted costs. If one part is free of
    what an attacker wrote, the expected cost is at most that of the decision by this part. Raises as ``Router.decide``
    does. Source: erase-and-check with one erased part (Kumar et al. 2023, arXiv:2309.02705).
    """
    decisions = [router.decide(one, budget, rng, mask) for one in readings]
    return min(decisions, key=lambda one: one.expected_cost)


def with_common_costs(readings: Sequence[Ranking]) -> list[Ranking]:
    """Return the readings with the largest predicted cost of each model, so that no part makes a model look cheap."""
    if len(readings) == 1 or any(one.costs is None for one in readings):
        return list(readings)
    costs = np.max([to_numpy(one.costs) for one in readings], axis=0)
    return [one._replace(costs=costs) for one in readings]
