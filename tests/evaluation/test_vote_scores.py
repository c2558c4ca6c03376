"""Scores of votes by hand, and coverage of intervals."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.evaluation import VoteScores, bootstrap_difference, score_votes
from p2l.evaluation.vote_scores import one_for_all, standard_error_of_difference
from p2l.outcomes import BT, BT_TIE, FAMILIES, GRK, OutcomeFamily
from p2l.types import Ranking

LOG3 = math.log(3)


def table(votes: list[tuple[str, str, str, str]], **columns: list[float]) -> VoteTable:
    return VoteTable.from_frame(
        pd.DataFrame(votes, columns=["prompt", "model_a", "model_b", "winner"]).assign(**columns)
    )


def scores(log_loss: np.ndarray, prompt_index: np.ndarray, weight: np.ndarray | None = None) -> VoteScores:
    return VoteScores(log_loss, -log_loss, np.ones(len(log_loss)) if weight is None else weight, prompt_index)


def test_bradley_terry_by_hand() -> None:
    votes = table([("x", "ant", "bee", "model_a"), ("y", "ant", "bee", "model_a"), ("x", "bee", "ant", "model_a")])
    rankings = Ranking(torch.tensor([[LOG3, 0.0], [0.0, LOG3]]), None)  # ant wins 3 of 4 on x, 1 of 4 on y
    found = score_votes(BT, rankings, votes)
    assert found.log_loss.tolist() == pytest.approx([-math.log(p) for p in (3 / 4, 1 / 4, 1 / 4)])
    assert found.accuracy.tolist() == [1, 0, 0]
    assert found.prompt_index.tolist() == [0, 1, 0]


def test_grounded_rao_kupper_by_hand() -> None:
    # theta = 2, a = b = 1: 1/4, 1/4, 1/6, and 1/3 for both bad, which is the most probable
    votes = table([("x", "ant", "bee", w) for w in ("model_a", "model_b", "tie", "tie (bothbad)")])
    found = score_votes(GRK, Ranking(torch.zeros(1, 2), torch.zeros(1)), votes)
    assert found.log_loss.tolist() == pytest.approx([math.log(n) for n in (4, 4, 6, 3)])
    assert found.accuracy.tolist() == [0, 0, 0, 1]


def test_a_tie_is_half_right_where_a_tie_is_half_a_win() -> None:
    found = score_votes(BT_TIE, Ranking(torch.tensor([LOG3, 0.0]), None), table([("x", "ant", "bee", "tie")]))
    assert found.accuracy.tolist() == [0.5]
    assert found.log_loss.tolist() == pytest.approx([-(math.log(3 / 4) + math.log(1 / 4)) / 2])


def test_a_soft_vote_scores_its_shares() -> None:
    soft = {"p_model_a": [0.7], "p_model_b": [0.3], "p_tie": [0.0], "p_both_bad": [0.0]}
    votes = table([("x", "ant", "bee", "model_a")], **soft)
    found = score_votes(BT, Ranking(torch.tensor([LOG3, 0.0]), None), votes)
    assert found.accuracy.tolist() == pytest.approx([0.7])
    assert found.log_loss.tolist() == pytest.approx([-0.7 * math.log(3 / 4) - 0.3 * math.log(1 / 4)])


def test_the_mean_is_over_weights() -> None:
    votes = table([("x", "ant", "bee", "model_a"), ("x", "bee", "ant", "model_a")], weight=[3.0, 1.0])
    mean = score_votes(BT, Ranking(torch.tensor([LOG3, 0.0]), None), votes).mean()
    assert mean == pytest.approx({"log_loss": (-3 * math.log(3 / 4) - math.log(1 / 4)) / 4, "accuracy": 0.75})


def test_votes_without_weight_have_no_score() -> None:
    votes = table([("x", "ant", "bee", "model_a")] * 2)
    votes = replace(votes, weight=0 * votes.weight)
    with pytest.raises(DataError, match="all votes have weight 0"):
        score_votes(BT, Ranking(torch.tensor([LOG3, 0.0]), None), votes)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_one_leaderboard_scores_like_the_same_one_for_every_prompt(family: OutcomeFamily) -> None:
    votes = table([(prompt, "ant", "bee", winner) for prompt in "xyz" for winner in ("model_a", "tie")])
    marginal = Ranking(torch.tensor([0.5, -0.1]), torch.tensor(0.3) if family.num_eta else None)
    one, many = (score_votes(family, r, votes) for r in (marginal, one_for_all(marginal, 3)))
    np.testing.assert_array_equal(one.log_loss, many.log_loss)
    np.testing.assert_array_equal(one.accuracy, many.accuracy)


def test_equal_scores_have_no_difference() -> None:
    same = scores(np.random.default_rng(0).random(50), np.arange(50) // 5)
    found = bootstrap_difference(same, same, "log_loss")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_constant_difference_is_certain() -> None:
    log_loss = np.random.default_rng(0).random(50)
    better, worse = (scores(log_loss + shift, np.arange(50) // 5) for shift in (0.0, 0.25))
    found = bootstrap_difference(better, worse, "log_loss")
    assert (found.value, found.low, found.high) == pytest.approx((-0.25, -0.25, -0.25))
    assert str(found) == "-0.2500 [-0.2500, -0.2500]"


def test_the_interval_of_independent_votes_is_that_of_the_normal_law() -> None:
    difference = np.random.default_rng(0).normal(0.1, 1.0, size=1000)
    found = bootstrap_difference(
        scores(difference, np.arange(1000)), scores(np.zeros(1000), np.arange(1000)), "log_loss"
    )
    assert found.value == pytest.approx(difference.mean())
    half_width = 1.96 * difference.std() / math.sqrt(1000)
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.08)


def test_votes_that_repeat_their_prompts_are_less_certain() -> None:
    per_prompt = np.random.default_rng(0).normal(size=100)
    repeated, index = np.repeat(per_prompt, 10), np.repeat(np.arange(100), 10)
    zero = np.zeros(1000)
    by_prompt = bootstrap_difference(scores(repeated, index), scores(zero, index), "log_loss")
    by_vote = bootstrap_difference(scores(repeated, np.arange(1000)), scores(zero, np.arange(1000)), "log_loss")
    assert (by_prompt.high - by_prompt.low) > 2.5 * (by_vote.high - by_vote.low)  # sqrt(10) in the limit


def test_weights_count_and_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    loss, weight, index = rng.random(40), rng.random(40), np.arange(40) // 2
    ours, other = scores(loss, index, weight), scores(np.zeros(40), index, weight)
    found = bootstrap_difference(ours, other, "log_loss")
    assert found.value == pytest.approx(np.average(loss, weights=weight))
    assert found.low < found.value < found.high
    assert (
        found == bootstrap_difference(ours, other, "log_loss") != bootstrap_difference(ours, other, "log_loss", seed=1)
    )
    narrower = bootstrap_difference(ours, other, "log_loss", level=0.5)
    assert narrower.high - narrower.low < found.high - found.low


def test_standard_error_over_prompts_by_hand() -> None:
    """Prompt sums of the deviations from the mean 2 are (-1, -1), (1), (1): -2, 1, 1."""
    ours = scores(np.array([1.0, 1, 3, 3]), np.array([0, 0, 1, 2]))
    other = scores(np.zeros(4), np.array([0, 0, 1, 2]))
    assert standard_error_of_difference(ours, other, "log_loss") == pytest.approx(math.sqrt(6 * 3 / 2) / 4)
    single = scores(np.ones(2), np.zeros(2, int))
    assert math.isnan(standard_error_of_difference(single, single, "log_loss"))


@pytest.mark.parametrize("votes_on_each", [1, 5])
def test_standard_error_agrees_with_the_bootstrap(votes_on_each: int) -> None:
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(200), votes_on_each)
    weight = rng.uniform(0.5, 2, len(prompt))
    ours = scores(rng.normal(size=200)[prompt] + rng.normal(size=len(prompt)), prompt, weight)
    other = scores(np.zeros(len(prompt)), prompt, weight)
    interval = bootstrap_difference(ours, other, "log_loss")
    error = standard_error_of_difference(ours, other, "log_loss")
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(error, rel=0.07)
