"""One scale and shift of coefs and eta, fitted to votes, cross-fitted, and folded into a head."""

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.evaluation.recalibration import Recalibration, cross_fitted, fit_recalibration
from p2l.evaluation.vote_scores import score_votes
from p2l.heads import RankingHead
from p2l.outcomes import FAMILIES, OutcomeFamily, get_family
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle, Ranking

PROMPTS, MODELS = 60, 4
NAMES = tuple(sorted(FAMILIES))


def truth(family: OutcomeFamily, seed: int = 0) -> Ranking:
    rng = torch.Generator().manual_seed(seed)
    coefs = torch.randn(PROMPTS, MODELS, generator=rng, dtype=torch.float64)
    eta = 0.6 + 0.3 * torch.randn(PROMPTS, generator=rng, dtype=torch.float64) if family.num_eta else None
    return Ranking(coefs, eta)


def expected_votes(family: OutcomeFamily, ranking: Ranking) -> VoteTable:
    """Every pair on every prompt, as the soft vote whose targets are the probabilities themselves."""
    a, b = np.triu_indices(MODELS, 1)
    prompt = np.repeat(np.arange(PROMPTS), len(a))
    a, b = np.tile(a, PROMPTS), np.tile(b, PROMPTS)
    battle = Battle(*(torch.from_numpy(x) for x in (prompt, a, b)))
    probs = battle_log_probs(family, ranking, battle).exp().numpy()
    shares = np.zeros((len(prompt), 4), dtype=np.float32)
    shares[:, : probs.shape[1]] = probs
    prompts = tuple((f"prompt {i}",) for i in range(PROMPTS))
    names = tuple(f"m{i}" for i in range(MODELS))
    weight = np.ones(len(prompt), dtype=np.float32)
    return VoteTable(prompts, prompt, a, b, shares, weight, names, pd.DataFrame({"row": range(len(prompt))}))


def distorted(ranking: Ranking, family: OutcomeFamily) -> Ranking:
    """Three times as sure of the differences between prompts; grounded ones also too high."""
    mean = ranking.coefs.mean(dim=0)
    coefs = mean + 3 * (ranking.coefs - mean) + (0.0 if family.shift_invariant else 1.5)
    return Ranking(coefs, None if ranking.eta is None else 2 * ranking.eta - 0.4)


@pytest.mark.parametrize("name", NAMES)
def test_a_known_distortion_is_undone(name: str) -> None:
    family = get_family(name)
    right = truth(family)
    votes = expected_votes(family, right)
    wrong = distorted(right, family)
    found = fit_recalibration(family, wrong, votes)
    again = found.apply(wrong)
    assert found.scale == pytest.approx(1 / 3, abs=0.01)
    np.testing.assert_allclose(gaps(again), gaps(right), atol=0.03)
    if not family.shift_invariant:
        np.testing.assert_allclose(again.coefs, right.coefs, atol=0.05)
    if right.eta is not None and family.least_eta is None:
        np.testing.assert_allclose(again.eta, right.eta, atol=0.05)


def gaps(ranking: Ranking) -> np.ndarray:
    return (ranking.coefs - ranking.coefs.mean(dim=1, keepdim=True)).numpy()


def test_rankings_that_are_right_stay_as_they_are() -> None:
    family = get_family("grk")
    right = truth(family)
    found = fit_recalibration(family, right, expected_votes(family, right))
    assert found.scale == pytest.approx(1, abs=0.01) and np.abs(found.offset).max() < 0.02
    assert found.eta_scale == pytest.approx(1, abs=0.05)


def test_rankings_that_say_the_opposite_become_one_leaderboard() -> None:
    """A negative scale would sell a fault as a skill."""
    family = get_family("bt")
    right = truth(family)
    opposite = Ranking(2 * right.coefs.mean(dim=0) - right.coefs, None)
    found = fit_recalibration(family, opposite, expected_votes(family, right))
    assert found.scale == 0
    assert found.apply(opposite).coefs.std(dim=0).max() < 1e-6


def test_a_prompt_is_mapped_without_its_own_votes() -> None:
    family = get_family("grk")
    right = truth(family)
    votes, wrong = expected_votes(family, right), distorted(right, family)
    before = cross_fitted(family, wrong, votes)
    changed = votes.outcome_shares.copy()
    changed[votes.prompt_index == 7] = [0, 0, 0, 1]
    after = cross_fitted(family, wrong, VoteTable(**{**vars(votes), "outcome_shares": changed}))
    torch.testing.assert_close(after.coefs[7], before.coefs[7])
    assert not torch.equal(after.coefs, before.coefs)
    assert score_votes(family, before, votes).mean()["log_loss"] < score_votes(family, wrong, votes).mean()["log_loss"]


def test_fewer_prompts_than_folds_are_an_error() -> None:
    family = get_family("bt")
    right = truth(family)
    few = expected_votes(family, right).select(np.arange(6 * 4))
    with pytest.raises(DataError, match="at least 5 prompts; there are 4"):
        cross_fitted(family, right.map(lambda values: values[:4]), few)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_head_takes_the_map_into_its_weights(name: str, rank: int | None) -> None:
    torch.manual_seed(0)
    head = RankingHead(8, MODELS, name, rank=rank)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(5, 8)
    found = Recalibration(0.4, np.array([0.1, -0.2, 0.3, 1.0]), 0.7, -0.5)
    expected = found.apply(head(hidden))
    head.rescale(found.scale, torch.from_numpy(found.offset), found.eta_scale, found.eta_offset)
    torch.testing.assert_close(head(hidden).coefs, expected.coefs)
    if expected.eta is not None:
        torch.testing.assert_close(head(hidden).eta, expected.eta)
