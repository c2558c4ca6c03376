"""The information of votes: against autograd, and exact where the Kronecker form is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.data.vote_table import VoteTable
from p2l.heads.ranking_head import RankingHead
from p2l.outcomes import FAMILIES
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle
from p2l.uncertainty.curvature import curvature
from p2l.uncertainty.posterior_fit import LinearOutputs

MODELS, HIDDEN = ["ant", "bee", "cow", "dog"], 5


def random_votes(num_votes: int, num_prompts: int, seed: int = 0) -> VoteTable:
    rng = np.random.default_rng(seed)
    pairs = np.array([rng.choice(MODELS, 2, replace=False) for _ in range(num_votes)])
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in rng.integers(num_prompts, size=num_votes)],
            "model_a": pairs[:, 0],
            "model_b": pairs[:, 1],
            "winner": rng.choice(["model_a", "model_b", "tie", "tie (bothbad)"], size=num_votes),
            "weight": rng.random(num_votes) + 0.5,
        }
    )
    return VoteTable.from_frame(frame, MODELS)


def random_head(family: str, seed: int = 0) -> RankingHead:
    torch.manual_seed(seed)
    return RankingHead(HIDDEN, len(MODELS), family, init="he_unif").float()


def loss(
    votes: VoteTable, layer: LinearOutputs, hidden: np.ndarray, family: str, outputs: torch.Tensor
) -> torch.Tensor:
    """The log-likelihood of votes, with ``outputs`` (prompts x outputs) added to those of the layer."""
    found = FAMILIES[family]
    total = torch.from_numpy(hidden @ layer.weight.T + layer.bias) + outputs
    ranking = layer.ranking(hidden, found)._replace(
        coefs=total[:, : len(MODELS)], eta=total[:, -1] if found.num_eta else None
    )
    battle = Battle(*(torch.from_numpy(x) for x in (votes.prompt_index, votes.model_a, votes.model_b)))
    shares = torch.from_numpy(votes.outcome_shares).double() @ found.target_matrix(torch.zeros(1).double())
    weight = torch.from_numpy(votes.weight).double()
    return (shares * battle_log_probs(found, ranking, battle)).sum(1) @ weight


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_likelihood(family: str) -> None:
    votes, head = random_votes(400, 30), random_head(family)
    hidden, layer = np.random.default_rng(1).normal(size=(len(votes.prompts), HIDDEN)), LinearOutputs.of(head)
    found = curvature(votes, layer.ranking(hidden, head.family), hidden, head.family)
    shift = torch.zeros(len(hidden), len(layer.bias), dtype=torch.float64, requires_grad=True)
    (by_output,) = torch.autograd.grad(loss(votes, layer, hidden, family, shift), shift)
    np.testing.assert_allclose(found.level_gradient, by_output.sum(0).numpy(), atol=1e-6)
    expected = by_output.numpy().T @ (hidden - found.centre)
    np.testing.assert_allclose(found.weight_gradient, expected, atol=1e-6)


@pytest.mark.parametrize("family", ["bt", "rk", "grk"])
def test_the_information_is_the_mean_square_of_the_gradient(family: str) -> None:
    """Fisher: over votes that the head itself would draw, the gradient's covariance is the information."""
    head = random_head(family)
    hidden, layer = np.zeros((1, HIDDEN)), LinearOutputs.of(head)
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    ranking = layer.ranking(hidden, head.family)
    expected, information = np.zeros((2, len(layer.bias), len(layer.bias)))
    kinds = {"a wins": "model_a", "b wins": "model_b", "tie": "tie", "both bad": "tie (bothbad)"}
    for a, b in pairs:
        eta = None if ranking.eta is None else ranking.eta[0]
        probs = head.family.log_probs(ranking.coefs[0, a], ranking.coefs[0, b], eta).exp()
        for outcome, prob in zip(head.family.outcomes, probs.tolist(), strict=True):
            one = [{"prompt": "x", "model_a": MODELS[a], "model_b": MODELS[b], "winner": kinds[outcome]}]
            found = curvature(VoteTable.from_frame(pd.DataFrame(one), MODELS), ranking, hidden, head.family)
            expected += prob * np.outer(found.level_gradient, found.level_gradient)
            information += prob * found.outputs
    np.testing.assert_allclose(information, expected, atol=1e-9)


def test_votes_without_evidence_tell_nothing() -> None:
    head = random_head("bt")
    votes = random_votes(300, 20)
    decided = votes.outcome_shares[:, :2].sum(1) > 0
    without_ties = replace(votes, weight=np.where(decided, votes.weight, 0).astype(np.float32))
    hidden, layer = np.random.default_rng(1).normal(size=(len(votes.prompts), HIDDEN)), LinearOutputs.of(head)
    ranking = layer.ranking(hidden, head.family)
    found, without = (curvature(table, ranking, hidden, head.family) for table in (votes, without_ties))
    np.testing.assert_allclose(found.outputs, without.outputs)
    assert found.outputs.sum() == pytest.approx(0, abs=1e-9)  # a constant of all coefficients changes nothing


def test_hidden_states_are_weighted_by_what_their_votes_tell() -> None:
    head = random_head("bt")
    rows = [("a", "ant", "bee", "model_a")] * 3 + [("b", "ant", "bee", "tie")] * 5 + [("c", "cow", "dog", "model_b")]
    votes = VoteTable.from_frame(pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]), MODELS)
    hidden = np.array([[1.0, 0, 0, 0, 0], [9.0, 9, 9, 9, 9], [0, 1.0, 0, 0, 0]])
    layer = LinearOutputs(np.zeros((4, HIDDEN)), np.zeros(4))  # every probability is a half
    found = curvature(votes, layer.ranking(hidden, head.family), hidden, head.family)
    np.testing.assert_allclose(found.centre, [0.75, 0.25, 0, 0, 0])
