"""What routing policies choose for attacked prompts, with and without a defence."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter

import numpy as np
from attacked_router import AttackedRouter
from spend_budgets import stream

from p2l.data.measured_scores import MeasuredScores
from p2l.outcomes import GRK
from p2l.routing import Router, cheapest_decision, make_router
from p2l.types import Ranking

BEST, PRICE, LP, SHRUNK_LP, OPTIMAL = "best score", "one price", "simple-lp", "simple-lp, shrunk", "optimal-lp"
STREAM, SHRUNK_STREAM = "stream budget", "stream budget, shrunk"
NONE, CHEAPER, LOWER = "none", "cheaper of two decisions", "lower of two scores"

Readings = Sequence[Ranking]  # of all prompts, in numpy: as they came, and without their tails
Policy = Callable[[Readings, MeasuredScores], np.ndarray]  # to the share of each LLM in each answer

DEFENCES: Mapping[str, Callable[[Readings], Readings]] = {
    NONE: lambda readings: readings[:1],
    CHEAPER: lambda readings: readings,
    LOWER: lambda readings: [readings[0]._replace(coefs=np.min([one.coefs for one in readings], axis=0))],
}


def policies(target: AttackedRouter) -> dict[str, Policy]:
    """Return the policies at the router's budget; all LLMs have one cost for all prompts."""
    router = partial(make_router, family=GRK, costs=target.cost)
    plain, shrunk = router("simple-lp"), router("simple-lp", shrinkage=target.shrinkage)
    return {
        BEST: partial(decided, plain, None),
        PRICE: partial(priced, plain, target.price),
        LP: partial(decided, plain, target.budget),
        SHRUNK_LP: partial(decided, shrunk, target.budget),
        OPTIMAL: partial(decided, router("optimal-lp"), target.budget),
        STREAM: partial(streamed, plain, target.budget, target.price),
        SHRUNK_STREAM: partial(streamed, shrunk, target.budget, target.shrunk_price),
    }


def decided(router: Router, budget: float | None, readings: Readings, measured: MeasuredScores) -> np.ndarray:
    """Return the mixtures of the optimiser."""
    generator = np.random.default_rng(0)
    return np.stack(
        [
            cheapest_decision(router, [one.map(itemgetter(at)) for one in readings], budget, generator).probabilities
            for at in range(len(measured))
        ]
    )


def priced(router: Router, price: float, readings: Readings, measured: MeasuredScores) -> np.ndarray:
    """Choose argmax score - price x cost by each reading, and the cheapest of these."""
    chosen = np.stack([(router.scores(one) - price * router.costs).argmax(axis=1) for one in readings])
    model = np.take_along_axis(chosen, router.costs[chosen].argmin(axis=0)[None], axis=0)[0]
    return np.eye(len(router.costs))[model]


def streamed(router: Router, budget: float, price: float, readings: Readings, measured: MeasuredScores) -> np.ndarray:
    """Return how often each LLM answers over the orders of the stream, all of whose prompts are these."""
    score = np.stack([router.scores(one) for one in readings], axis=1)
    cost = np.tile(router.costs, (len(measured), 1))
    return stream(score, cost, measured.cost, [budget], [float(np.log(price))]).shares[0]
