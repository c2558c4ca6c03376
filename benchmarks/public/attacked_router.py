"""The router that is attacked: a head on a frozen backbone, the costs of its LLMs, and what a budget buys."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from cached_states import StateCache, encoder_recipe
from public_tables import PublicTable
from ready_checkpoint import FittedSet, LinearRows, choose_options, cross_fitted, join_heads
from spend_budgets import known_prices
from suffix_search import Margin

from p2l.heads import RankingHead
from p2l.models import Checkpoint
from p2l.routing import Shrinkage, fit_shrinkage


@dataclass(frozen=True, eq=False)
class AttackedRouter:
    """A P2L checkpoint and what its policies need.

    Attributes:
        cost: mean cost of each LLM on the prompts to fit.
        budget: mean cost of a prompt.
        price: score per unit of cost that would have spent the budget on the prompts to fit; ``shrunk_price``: the same
            for shrunk scores.
        shrinkage: fitted to cross-fitted scores.
    """

    checkpoint: Checkpoint
    cost: np.ndarray
    budget: float
    price: float
    shrunk_price: float
    shrinkage: Shrinkage

    @property
    def dearest(self) -> int:
        """The LLM that an attacker wants."""
        return int(self.cost.argmax())

    @property
    def margin(self) -> Margin:
        return Margin(self.dearest, self.price * self.cost)


def fit_router(table: PublicTable, cache: StateCache, budget: float) -> AttackedRouter:
    """Fit the head to all prompts, as the checkpoint that p2l carries is fitted; prices and shrinkage across folds."""
    fit, states = table.fit.measured, cache.states(table.fit.measured.prompts).astype(np.float64)
    options = choose_options(states, fit)
    print(f"head: {options}", flush=True)
    score = 1 / (1 + np.exp(-cross_fitted(states, fit, options)))
    shrinkage, cost = fit_shrinkage("simple-lp", score, fit), fit.cost.mean(axis=0)
    flat = np.tile(cost, (len(fit), 1))
    prices = [float(np.exp(known_prices(one, flat, fit, [budget])[0])) for one in (score, shrinkage(score))]
    fitted = FittedSet(table, states, LinearRows.fit(states, fit, options))
    return AttackedRouter(_checkpoint(fitted, cache), cost, budget, *prices, shrinkage)


def _checkpoint(fitted: FittedSet, cache: StateCache) -> Checkpoint:
    """Return the whole model; batches are padded, so that each token of a prompt has a place of its own."""
    recipe = replace(encoder_recipe(cache.backbone, cache.max_length), packed=False)
    encoder, models = recipe.encoder(), fitted.measured.models
    network = recipe.build(encoder, partial(RankingHead, family="grk", init="zeros"), models).eval()
    network.head.load_state_dict(join_heads([fitted]).state_dict())
    return Checkpoint(network, encoder, models)
