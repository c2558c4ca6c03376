"""Explorers of a tiny checkpoint; the names of its LLMs may be markup."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from p2l.explorer import Explorer, Prices
from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe
from p2l.models.predictor import Predictor

NAMES = ("alpha", "beta", "delta", "gamma")
EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "${alert(1)}{{value}}", "$x_1^{2}$ & co")
PRICES = {"alpha": [1, 2], "beta": [0.1, 0.1], "gamma": [10, 30]}


@pytest.fixture
def predictor(tiny_checkpoint: Checkpoint) -> Predictor:
    return Predictor(tiny_checkpoint)


@pytest.fixture
def evil_predictor(tiny_checkpoint: Checkpoint) -> Predictor:
    """Return a predictor whose LLMs have markup as names."""
    return Predictor(replace(tiny_checkpoint, models=EVIL))


@pytest.fixture
def explorer(predictor: Predictor) -> Explorer:
    return Explorer(predictor, Prices(PRICES))


@pytest.fixture
def make_explorer(tiny_recipe: ModelRecipe) -> Callable[..., Explorer]:
    """Return ``make_explorer(family, prices=None)``, for a tiny model of this family."""

    def make(family: str, prices: Prices | None = None) -> Explorer:
        encoder = tiny_recipe.encoder()
        model = tiny_recipe.build(encoder, partial(RankingHead, family=family), NAMES)
        return Explorer(Predictor(Checkpoint(model.eval(), encoder, NAMES, {"family": family})), prices)

    return make
