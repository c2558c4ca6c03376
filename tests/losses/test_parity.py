"""The losses of the published code, vote by vote; see tests/golden/README.md."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.losses import NegativeLogLikelihood
from p2l.outcomes import FAMILIES, GRK, OutcomeFamily, merge_ties
from p2l.outcomes.formulas import grounded_rao_kupper
from p2l.training.published_recipe import PUBLISHED_HEAD_TYPE

KIND_OF_T = np.array([0, 2, 3])  # in p2l.types.OUTCOMES: t = 0 the first model won, 1 tie, 2 both bad
# Published: theta = e^eta + 1.000001, where ours has 1 exactly. It shows in ties at eta far below zero only.
OFFSET_GRK = replace(GRK, formula=partial(grounded_rao_kupper, min_theta=1.000001))
PUBLISHED = FAMILIES | {"grk": OFFSET_GRK, "rk-reparam": merge_ties(OFFSET_GRK, "rk-reparam")}

families = pytest.mark.parametrize("name", PUBLISHED_HEAD_TYPE)


@pytest.fixture(scope="module")
def rows(golden: Path) -> pd.DataFrame:
    stored = json.loads((golden / "losses.json").read_text())
    table = pd.DataFrame(stored["rows"], columns=stored["columns"])
    numbers = ["a", "b", "eta", "gamma", "t", "loss", "exact"]
    return table.assign(**table[numbers].astype(float).fillna({"eta": 0, "gamma": 0, "t": 0}))


def ours(family: OutcomeFamily, rows: pd.DataFrame) -> np.ndarray:
    a, b, eta, gamma = torch.tensor(rows[["a", "b", "eta", "gamma"]].to_numpy(np.float32)).unbind(1)
    if family.has_threshold:
        a, b = a - gamma, b - gamma
    log_probs = family.log_probs(a, b, eta)
    targets = family.target_matrix(log_probs)[torch.from_numpy(KIND_OF_T[rows["t"].astype(int)])]
    return NegativeLogLikelihood()(log_probs, targets, torch.ones_like(a)).double().numpy()


def assert_close(found: np.ndarray, expected: pd.Series, rounding: np.ndarray | float = 0.0) -> None:
    excess = np.abs(found - expected.to_numpy()) - 1e-5 * np.maximum(1, expected.to_numpy()) - rounding
    assert excess.max() <= 0, f"row {expected.index[excess.argmax()]}"


@families
def test_losses_equal_the_published_ones_if_float32_represents_them(name: str, rows: pd.DataFrame) -> None:
    sound = rows[rows["family"].eq(name) & rows[["clamped", "cancels", "nonfinite"]].eq(0).all(axis=1)]
    assert len(sound) >= 30
    # they compute the probability p of a tie as 1 - rest in float32, which rounds it by some 1e-7, its log by 1e-7 / p
    rounding = sound["t"].eq(1).to_numpy() * 4e-7 * np.exp(sound["exact"].to_numpy())
    assert_close(ours(PUBLISHED[name], sound), sound["loss"], rounding)


@families
def test_losses_are_exact_also_where_theirs_is_clamped_cancels_or_is_not_finite(name: str, rows: pd.DataFrame) -> None:
    mine = rows[rows["family"].eq(name)]
    assert_close(ours(PUBLISHED[name], mine), mine["exact"])


@pytest.mark.parametrize("name", ["grk", "rk-reparam"])
def test_the_published_offset_of_theta_does_not_show_in_what_heads_emit(name: str, rows: pd.DataFrame) -> None:
    usual = rows[rows["family"].eq(name) & (rows["eta"] >= -2)]
    assert_close(ours(FAMILIES[name], usual), usual["exact"])
