"""Subsets: sizes, laws, seeds."""

import pytest

from p2l.errors import ConfigError
from p2l.evaluation import SubsetPlan
from p2l.evaluation.candidates import Leaderboards, make_candidate
from p2l.evaluation.subset_comparisons import aggregation_scale, random_subsets
from p2l.outcomes import FAMILIES, GRK

METRICS = ("L1-Dist-Prob", "Kendall-lbs", "Top-k-fraction")


def boards(votes, family) -> Leaderboards:
    return Leaderboards(votes, family, None, "none")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_marginal_of_a_subset_is_its_own_truth(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    candidate = make_candidate("marginal-gt", boards(votes, family))
    found, omitted = random_subsets(SubsetPlan(METRICS, (100,), (3,)), candidate, votes, family, seed=0)
    assert found["100"]["L1-Dist-Prob"] == 0 and found["100"]["Top-k-fraction"] == {"1": 1, "3": 1, "5": 1}
    assert omitted == {}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_aggregates_come_closer_to_that_of_all_prompts_the_more_there_are(family, drawn_votes) -> None:
    votes = drawn_votes(family)
    candidate = make_candidate("p2l", boards(votes, family))
    plan = SubsetPlan(METRICS, (1, 10, 100), (30, 10, 10))
    found, _ = aggregation_scale(plan, candidate, candidate.leaderboard, votes, family, seed=0)
    distances = [found[size]["L1-Dist-Prob"] for size in ("1", "10", "100")]
    assert distances == sorted(distances, reverse=True) and distances[2] < distances[0] / 5


def test_the_whole_table_without_replacement_is_the_fit_of_all(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    candidate = make_candidate("p2l", boards(votes, GRK))
    found, _ = random_subsets(SubsetPlan(("L1-Dist-Prob",), (240,), (2,)), candidate, votes, GRK, seed=0)
    whole, _ = aggregation_scale(
        SubsetPlan(("L1-Dist-Prob",), (240,), (20,)),
        candidate,
        boards(votes, GRK).of("marginal-gt"),
        votes,
        GRK,
        seed=0,
    )
    assert found["240"]["L1-Dist-Prob"] == pytest.approx(whole["240"]["L1-Dist-Prob"], abs=0.02)


def test_a_leaderboard_that_no_votes_change_is_the_same_at_any_scale(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    candidate = make_candidate("marginal", Leaderboards(votes, GRK, votes.battles, "none"))
    truth = boards(votes, GRK).of("marginal-gt")
    found, _ = aggregation_scale(SubsetPlan(METRICS, (1, 50), (2, 2)), candidate, truth, votes, GRK, seed=0)
    assert found["1"] == found["50"] and found["1"]["L1-Dist-Prob"] == 0


def test_the_seed_decides(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    candidate = make_candidate("p2l", boards(votes, GRK))
    runs = [random_subsets(SubsetPlan(METRICS, (50,), (2,)), candidate, votes, GRK, seed)[0] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_a_size_larger_than_the_table_is_left_out_and_named(drawn_votes) -> None:
    votes = drawn_votes(GRK)
    candidate = make_candidate("p2l", boards(votes, GRK))
    found, omitted = random_subsets(SubsetPlan(METRICS, (10, 241), (1, 1)), candidate, votes, GRK, seed=0)
    assert list(found) == ["10"] and omitted == {"random subsets of 241": "there are 240 votes"}


def test_plans_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ConfigError, match="sizes and num_samples need the same length; got 2 and 1"):
        SubsetPlan(METRICS, (1, 2), (1,))
    with pytest.raises(ConfigError, match="at least 1"):
        SubsetPlan(METRICS, (0,), (1,))
    with pytest.raises(ConfigError, match="unknown metric Leaderboard"):
        SubsetPlan(("Leaderboard",), (1,), (1,))
