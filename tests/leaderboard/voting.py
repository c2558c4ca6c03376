"""Votes for the tests: written by hand, expected, or drawn from a known truth."""

import numpy as np
import pandas as pd
import torch

from p2l.data.battle_table import BattleTable
from p2l.outcomes import OutcomeFamily
from p2l.types import OUTCOMES, Ranking

WINNERS = [outcome.value for outcome in OUTCOMES]


def frame(votes: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(votes, columns=["model_a", "model_b", "winner"])


def make_truth(family: OutcomeFamily, num_models: int = 6) -> Ranking:
    coefs = torch.linspace(-1.5, 2.0, num_models, dtype=torch.float64)
    if family.shift_invariant:
        coefs = coefs - coefs.mean()
    eta = {"rk": 12.0}.get(family.name, 0.3)
    return Ranking(coefs, torch.tensor(eta, dtype=torch.float64) if family.num_eta else None)


def probs_of(family: OutcomeFamily, truth: Ranking) -> np.ndarray:
    """P(outcome) of every ordered pair: (models, models, outcomes)."""
    eta = None if truth.eta is None else truth.eta.reshape(1, 1)
    return family.log_probs(truth.coefs[:, None], truth.coefs[None, :], eta).exp().numpy()


def expected_votes(family: OutcomeFamily, truth: Ranking, votes_per_pair: float = 1.0) -> BattleTable:
    """The votes that the truth would give if there were no chance: each kind of each ordered pair, weighted."""
    probs, num_models = probs_of(family, truth), len(truth.coefs)
    model_a, model_b = np.nonzero(~np.eye(num_models, dtype=bool))
    kinds = np.argmax(np.asarray(family.targets), axis=0)  # a kind of vote for each outcome
    count = len(kinds)
    return BattleTable(
        np.repeat(model_a, count),
        np.repeat(model_b, count),
        np.eye(4, dtype=np.float32)[np.tile(kinds, len(model_a))],
        (votes_per_pair * probs[model_a, model_b]).astype(np.float32).ravel(),
        tuple(f"model {i}" for i in range(num_models)),
    )


def draw_votes(family: OutcomeFamily, truth: Ranking, num_votes: int, rng: np.random.Generator) -> BattleTable:
    """Votes on random pairs, drawn from the truth."""
    num_models = len(truth.coefs)
    model_a = rng.integers(num_models, size=num_votes)
    model_b = (model_a + rng.integers(1, num_models, size=num_votes)) % num_models
    probs = probs_of(family, truth)[model_a, model_b]
    outcome = (rng.random((num_votes, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=probs.shape[1] - 1)
    kinds = np.argmax(np.asarray(family.targets), axis=0)
    return BattleTable(
        model_a.astype(np.int64),
        model_b.astype(np.int64),
        np.eye(4, dtype=np.float32)[kinds[outcome]],
        np.ones(num_votes, dtype=np.float32),
        tuple(f"model {i}" for i in range(num_models)),
    )
