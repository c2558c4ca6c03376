"""The marginal fit: another optimiser must agree, a known truth must come back, and odd tables stay finite."""

import logging
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes
from p2l.data.votes import VoteTable
from p2l.leaderboard import count_outcomes, fit_marginal
from p2l.outcomes import BT, BT_TIE, FAMILIES, GRK, OutcomeFamily
from p2l.types import Ranking

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def table(votes: list[tuple[str, str, str]], weight: list[float] | None = None) -> VoteTable:
    frame = pd.DataFrame(votes, columns=["model_a", "model_b", "winner"]).assign(prompt="which?")
    return VoteTable.from_frame(frame if weight is None else frame.assign(weight=weight))


def expected_counts(family: OutcomeFamily, truth: Ranking, votes_per_pair: float) -> Tensor:
    """The counts that the truth would give if there were no chance."""
    eta = None if truth.eta is None else truth.eta.reshape(1, 1)
    counts = votes_per_pair * family.log_probs(truth.coefs[:, None], truth.coefs[None, :], eta).exp()
    return counts * (1 - torch.eye(len(truth.coefs), dtype=torch.float64))[..., None]


def make_truth(family: OutcomeFamily, num_models: int = 6) -> Ranking:
    coefs = torch.linspace(-1.5, 2.0, num_models, dtype=torch.float64)
    if family.shift_invariant:
        coefs = coefs - coefs.mean()
    eta = {"rk": 12.0}.get(family.name, 0.3)
    return Ranking(coefs, torch.tensor(eta, dtype=torch.float64) if family.num_eta else None)


def test_counts_by_hand() -> None:
    votes = table(
        [("ant", "bee", "model_a"), ("bee", "ant", "model_a"), ("ant", "bee", "tie"), ("ant", "bee", "tie (bothbad)")],
        weight=[1.0, 2.0, 3.0, 4.0],
    )
    assert count_outcomes(votes, GRK).tolist() == [[[0, 0, 0, 0], [1, 0, 3, 4]], [[2, 0, 0, 0], [0, 0, 0, 0]]]
    assert count_outcomes(votes, BT).tolist() == [[[0, 0], [1, 0]], [[2, 0], [0, 0]]]
    assert count_outcomes(votes, BT_TIE).tolist() == [[[0, 0], [4.5, 3.5]], [[2, 0], [0, 0]]]


def test_soft_votes_count_in_shares() -> None:
    frame = pd.DataFrame({"prompt": ["?"], "model_a": ["ant"], "model_b": ["bee"], "winner": ["model_a"]})
    soft = frame.assign(p_model_a=0.5, p_model_b=0.25, p_tie=0.125, p_both_bad=0.125)
    assert count_outcomes(VoteTable.from_frame(soft), GRK)[0, 1].tolist() == [0.5, 0.25, 0.125, 0.125]


def test_two_models_by_hand() -> None:
    votes = table([("ant", "bee", "model_a")] * 3 + [("ant", "bee", "model_b")])
    fit = fit_marginal(count_outcomes(votes, BT), BT, ridge=0.0)
    assert fit.eta is None
    assert fit.coefs.tolist() == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-6)


@families
def test_finds_the_truth_behind_expected_counts(family: OutcomeFamily) -> None:
    truth = make_truth(family)
    fit = fit_marginal(expected_counts(family, truth, 1e6), family, ridge=1e-6)
    torch.testing.assert_close(fit.coefs, truth.coefs, atol=1e-5, rtol=0)
    if truth.eta is not None:
        torch.testing.assert_close(fit.eta, truth.eta, atol=1e-4, rtol=0)


@families
def test_agrees_with_scipy(family: OutcomeFamily) -> None:
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(rng.integers(0, 9, size=(4, 4, len(family.outcomes))).astype(float))
    counts[range(4), range(4)] = 0
    ridge = 0.5

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        p = torch.tensor(flat, requires_grad=True)
        log_probs = family.log_probs(p[:4, None], p[None, :4], p[4:].reshape(1, 1) if family.num_eta else None)
        value = -(counts * log_probs).sum() + ridge / 2 * p.square().sum()
        value.backward()
        return value.item(), p.grad.numpy()

    found = minimize(objective, np.zeros(4 + family.num_eta), jac=True, method="BFGS", options={"gtol": 1e-7}).x
    fit = fit_marginal(counts, family, ridge=ridge)
    gauge = found[:4].mean() if family.shift_invariant else 0.0
    np.testing.assert_allclose(fit.coefs.numpy(), found[:4] - gauge, atol=1e-5)
    if fit.eta is not None:
        assert float(fit.eta) == pytest.approx(found[4], abs=1e-5)


@families
def test_the_gauge_is_mean_zero_where_a_shift_says_nothing(family: OutcomeFamily) -> None:
    fit = fit_marginal(expected_counts(family, make_truth(family), 100.0), family)
    assert (abs(float(fit.coefs.mean())) < 1e-9) == family.shift_invariant


@families
def test_a_model_that_never_loses_stays_finite(family: OutcomeFamily, caplog: pytest.LogCaptureFixture) -> None:
    votes = [("ant", "bee", "model_a")] * 50 + [("bee", "cat", "model_a"), ("bee", "cat", "model_b")]
    with caplog.at_level(logging.WARNING, "p2l"):
        fit = fit_marginal(count_outcomes(table(votes), family), family)
    assert fit.coefs.isfinite().all() and fit.coefs.abs().max() < 50
    assert fit.coefs.argmax() == 0
    assert not caplog.records


@families
def test_models_that_never_met_and_no_votes_at_all_stay_finite(family: OutcomeFamily) -> None:
    apart = [("ant", "bee", "model_a"), ("cat", "dog", "model_b")]
    assert fit_marginal(count_outcomes(table(apart), family), family).coefs.isfinite().all()
    nothing = fit_marginal(torch.zeros(3, 3, len(family.outcomes), dtype=torch.float64), family)
    assert nothing.coefs.abs().max() == 0


def test_swapping_the_sides_changes_nothing() -> None:
    votes = [
        ("ant", "bee", "model_a"),
        ("bee", "cat", "tie"),
        ("cat", "ant", "tie (bothbad)"),
        ("bee", "cat", "model_b"),
    ]
    other = {"model_a": "model_b", "model_b": "model_a"}
    swapped = [(b, a, other.get(winner, winner)) for a, b, winner in votes]
    one, two = (fit_marginal(count_outcomes(table(v), GRK), GRK) for v in (votes, swapped))
    torch.testing.assert_close(one.coefs, two.coefs)


def test_recovers_a_simulated_arena() -> None:
    arena = SimulatedArena.from_seed(num_models=8)
    prompts = load_prompts()
    prompts = prompts[(prompts["topic"] == "math") & (prompts["language"] == "English")]
    votes = VoteTable.from_frame(simulate_votes(arena, prompts, 20_000 // len(prompts)), arena.models)
    fit = fit_marginal(count_outcomes(votes, GRK), GRK)
    truth = arena.true_coefs(prompts)[0]
    assert np.abs(fit.coefs.numpy() - truth).max() < 0.2
    assert float(fit.eta) == pytest.approx(arena.true_eta(prompts)[0], abs=0.1)
