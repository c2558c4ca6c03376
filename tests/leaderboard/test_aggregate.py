"""Many prompts as one leaderboard: a direct optimiser must agree, one prompt must come back as it is."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from p2l.errors import DataError
from p2l.leaderboard import aggregate, aggregate_subsets
from p2l.leaderboard.aggregate_prompts import mean_probs
from p2l.outcomes import BT, FAMILIES, GRK, OutcomeFamily
from p2l.types import Ranking

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def make_rankings(family: OutcomeFamily, prompts: int = 40, models: int = 5, scale: float = 1.0) -> Ranking:
    generator = torch.Generator().manual_seed(0)
    coefs = scale * torch.randn(prompts, models, generator=generator)
    shift = 15.0 if family.name == "rk" else 0.0
    eta = shift + torch.randn(prompts, generator=generator) if family.num_eta else None
    return Ranking(coefs, eta)


@families
def test_agrees_with_scipy_on_the_whole_objective(family: OutcomeFamily) -> None:
    rankings, models = make_rankings(family), 5
    a, b = torch.triu_indices(models, models, 1)
    eta = None if rankings.eta is None else rankings.eta.double()[:, None]
    probs = family.log_probs(rankings.coefs.double()[:, a], rankings.coefs.double()[:, b], eta).exp()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        p = torch.tensor(flat, requires_grad=True)
        log_probs = family.log_probs(p[a], p[b], p[models:].expand(len(a)) if family.num_eta else None)
        value = -(probs * log_probs).sum(-1).mean()
        value.backward()
        return value.item(), p.grad.numpy()

    start = np.full(models + family.num_eta, 0.1)
    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-7}).x
    ours = aggregate(rankings, family)
    gauge = found[:models].mean() if family.shift_invariant else 0.0
    np.testing.assert_allclose(ours.coefs.numpy(), found[:models] - gauge, atol=2e-5)
    if ours.eta is not None:
        assert float(ours.eta) == pytest.approx(found[models], abs=1e-3)


@families
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["usual", "beyond the odds of float32"])
def test_one_prompt_is_its_own_leaderboard(family: OutcomeFamily, scale: float) -> None:
    rankings = make_rankings(family, prompts=1, scale=scale)
    ours = aggregate(rankings, family)
    coefs = rankings.coefs[0].double()
    if family.shift_invariant:
        coefs = coefs - coefs.mean()
    probs, wanted = (
        mean_probs(Ranking(c[None], e), family, torch.ones(1, 1))
        for c, e in ((ours.coefs, None if ours.eta is None else ours.eta[None]), (coefs, rankings.eta))
    )
    torch.testing.assert_close(probs, wanted, atol=1e-5, rtol=0)
    if scale == 1.0:
        torch.testing.assert_close(ours.coefs, coefs, atol=1e-4, rtol=0)


@families
def test_means_from_odds_are_those_from_logarithms(family: OutcomeFamily) -> None:
    rankings, weights = make_rankings(family, prompts=70, models=13), torch.rand(70, 2)
    a, b = torch.triu_indices(13, 13, 1)
    eta = None if rankings.eta is None else rankings.eta[:, None].double()
    exact = family.log_probs(rankings.coefs[:, a].double(), rankings.coefs[:, b].double(), eta).exp()
    wanted = torch.einsum("nps,nk->kps", exact, weights.double())
    torch.testing.assert_close(mean_probs(rankings, family, weights), wanted, atol=1e-4, rtol=0)


@families
def test_batches_and_weights_change_nothing(family: OutcomeFamily) -> None:
    rankings = make_rankings(family)
    whole = aggregate(rankings, family)
    parts = [
        Ranking(rankings.coefs[i : i + 7], None if rankings.eta is None else rankings.eta[i : i + 7])
        for i in range(0, 40, 7)
    ]
    streamed = aggregate(iter(parts), family)
    torch.testing.assert_close(streamed.coefs, whole.coefs, atol=1e-6, rtol=0)
    twice = torch.cat((torch.full((20,), 2.0), torch.zeros(20)))
    half = Ranking(rankings.coefs[:20], None if rankings.eta is None else rankings.eta[:20])
    torch.testing.assert_close(
        aggregate(rankings, family, weight=twice).coefs, aggregate(half, family).coefs, atol=1e-6, rtol=0
    )


@families
@pytest.mark.parametrize("size", [1, 9])
def test_subsets_are_aggregated_as_if_alone(family: OutcomeFamily, size: int) -> None:
    rankings = make_rankings(family)
    subsets = torch.from_numpy(np.random.default_rng(0).integers(40, size=(6, size)))
    together = aggregate_subsets(rankings, family, subsets)
    for i, subset in enumerate(subsets):
        alone = aggregate(
            Ranking(rankings.coefs[subset], None if rankings.eta is None else rankings.eta[subset]), family
        )
        torch.testing.assert_close(together.coefs[i], alone.coefs, atol=1e-5, rtol=0)
    assert (together.eta is None) == (family.num_eta == 0)


def test_two_prompts_by_hand() -> None:
    """Under BT with two models the leaderboard's probability is the mean of the prompts' ones."""
    ours = aggregate(Ranking(torch.tensor([[1.0, -1.0], [0.0, 0.0]]), None), BT)
    mean = (1 / (1 + np.exp(-2.0)) + 0.5) / 2
    assert float(ours.coefs[0] - ours.coefs[1]) == pytest.approx(np.log(mean / (1 - mean)), abs=1e-6)


def test_bad_input_is_said() -> None:
    rankings = make_rankings(GRK)
    rankings.coefs[[3, 8], 1] = torch.nan
    with pytest.raises(DataError, match="not finite for 2 of 40 prompts, first for prompt 3"):
        aggregate(rankings, GRK)
    with pytest.raises(DataError, match="not finite"):
        aggregate_subsets(rankings, GRK, torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(DataError, match="got 0 prompts"):
        aggregate(Ranking(torch.zeros(0, 3), torch.zeros(0)), GRK)
    with pytest.raises(DataError, match="1 models"):
        aggregate(Ranking(torch.zeros(2, 1), None), BT)
    with pytest.raises(DataError, match="no prompt to aggregate"):
        aggregate(iter([]), BT)
