"""Rankings drawn at random, for the tests of insight."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from p2l.insight.ranked_prompts import RankedPrompts
from p2l.outcomes import BT, OutcomeFamily
from p2l.types import Ranking

needs_extra = pytest.mark.skipif(find_spec("bertopic") is None, reason="needs BERTopic (extra: insight)")
MODELS = ("alpha", "beta", "delta", "gamma")


def draw(family: OutcomeFamily, num_prompts: int, num_models: int = 4, seed: int = 0, spread: float = 0.5) -> Ranking:
    """Draw rankings around one leaderboard, with a random part for each prompt."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.linspace(1, -1, num_models)
    coefs = mean + spread * torch.randn(num_prompts, num_models, generator=generator)
    eta = 0.3 * torch.randn(num_prompts, generator=generator)
    return Ranking(coefs, eta if family.num_eta else None)


def ranked(coefs: list[list[float]], family: OutcomeFamily = BT, **categories: list[str]) -> RankedPrompts:
    """Return a table of prompts with these coefficients."""
    values = torch.tensor(coefs)
    prompts = tuple((f"prompt {i}",) for i in range(len(values)))
    labels = {name: [(label,) for label in column] for name, column in categories.items()}
    eta = torch.zeros(len(values)) if family.num_eta else None
    return RankedPrompts(prompts, Ranking(values, eta), MODELS[: values.shape[1]], family, labels)


def every(rankings: Ranking) -> np.ndarray:
    """Return all rows."""
    return np.arange(len(rankings.coefs))
